"""Data sets of annotated images."""
