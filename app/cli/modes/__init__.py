"""One file per mode: what `mode=<name>` does."""
