"""Training: the loop, its state, the processes that share a training, and the final scores."""
