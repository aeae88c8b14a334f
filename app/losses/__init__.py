"""Losses for training; ours are computed from sums over classes, without a one-hot volume."""
