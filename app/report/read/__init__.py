"""Readers that return the files of a run folder as values."""
