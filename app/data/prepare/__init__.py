"""One case from its files to the cached arrays on the grid of a network."""
