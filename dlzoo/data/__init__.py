"""Data sets, how they are split, and how batches are made of them."""
