"""One convolution replaced by smaller ones: the ways to fit them."""
