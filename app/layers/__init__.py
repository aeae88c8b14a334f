"""How a convolution is computed: the modules operators are made of, what they cost and what they see."""
