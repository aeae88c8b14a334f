"""Topology, the description of a network, and its checkpoint."""
