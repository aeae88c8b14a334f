"""One scan to its label map in its own geometry."""
