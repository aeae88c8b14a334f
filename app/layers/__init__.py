"""The modules that operators are made of, their costs, and the channels and voxels that they see."""
