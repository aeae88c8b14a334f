"""Training, search and application of 3D segmentation networks."""

__version__ = "0.1.0"
