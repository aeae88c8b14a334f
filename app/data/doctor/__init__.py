"""The data doctor: every case read once, what is wrong with it said before training, safe repairs copied."""
