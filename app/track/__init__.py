"""Trackers, which copy a run to programs that compare runs; the run folder is complete without them."""
