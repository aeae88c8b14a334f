"""Losses computed from sums over classes, without a one-hot volume."""
