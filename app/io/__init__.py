"""Scans and label maps from files and into files, in any format."""
