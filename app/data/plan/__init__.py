"""Planning: spacing, patch, network size and training length chosen from the data set, with reasons."""
