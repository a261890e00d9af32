"""Optimizers, learning-rate schedules and regularisation."""
