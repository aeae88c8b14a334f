"""Trained networks for other programs and engines."""
