"""Data sets, their splits, and the loaders of batches."""
