"""Metrics of one label map against its reference, and their statistics over cases."""
