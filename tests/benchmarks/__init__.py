"""Measurements, run by command; memory is kept as run.py keeps it."""

from app.core.machine import keep_freed_memory

keep_freed_memory()
