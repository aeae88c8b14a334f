"""Data sets: reading, describing, downloading and generating them."""
