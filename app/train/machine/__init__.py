"""The machine of a training: versions, speed, and the processes that share the training."""
