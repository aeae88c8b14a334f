"""Compression of a trained network under a budget, by decomposition or by smaller kernels."""
