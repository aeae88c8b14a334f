"""Sweeps, which are many runs from one command: their jobs, how these are launched, and their results."""
