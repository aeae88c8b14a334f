"""Running a network over one volume, window by window."""
