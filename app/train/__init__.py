"""A training: the loop, its state, what processes share, and the final scores."""
