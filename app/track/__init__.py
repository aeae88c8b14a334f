"""A run, told to programs that show many side by side; the run folder has it all without them."""
