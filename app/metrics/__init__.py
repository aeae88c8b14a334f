"""Metrics of one label map against its reference."""
