"""Data: checking, planning, preparing and sampling, from a data set to the batches of a training."""
