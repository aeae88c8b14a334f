"""The modes, one file each: the function that `mode=<name>` runs."""
