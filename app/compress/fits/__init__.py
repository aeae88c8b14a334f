"""Ways to replace one convolution by smaller ones that are fitted to it."""
