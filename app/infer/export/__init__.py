"""Exporting trained networks for other programs and engines."""
