"""Folds of cases, and random augmented batches of patches from prepared cases."""
