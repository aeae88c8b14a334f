"""Network topologies, descriptions of networks, and checkpoints."""
