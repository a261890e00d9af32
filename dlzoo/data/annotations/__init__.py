"""Formats of annotations that several tasks read."""
