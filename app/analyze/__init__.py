"""Receptive field and cost of every convolution, and optimisers of both that need no training."""
