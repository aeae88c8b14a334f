"""Runs against each other: groups, folds and paired differences."""
