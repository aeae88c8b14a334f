"""What a data set says about spacing, patch, network size and training, with reasons."""
