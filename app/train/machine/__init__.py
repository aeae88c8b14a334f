"""What a training runs on: versions, the machine's speed, and the processes that share it."""
