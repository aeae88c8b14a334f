"""Metrics of a predicted label map against its reference, and their statistics over cases."""
