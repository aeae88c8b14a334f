"""Receptive field and cost of every convolution, and static optimisers of both."""
