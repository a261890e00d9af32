"""Build model, recipe and trainer from a finalised config, and run it."""
