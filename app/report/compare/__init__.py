"""Comparisons of runs: groups, folds and paired differences."""
