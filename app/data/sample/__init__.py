"""Prepared cases divided into folds, and random augmented batches of them."""
