"""One volume through a network, window by window."""
