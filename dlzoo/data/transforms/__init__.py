"""Transforms of batches of images."""
