"""Weights that other programs saved: their files, the names of their tensors, and how they fit a network."""
