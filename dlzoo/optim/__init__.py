"""Optimizers, learning-rate schedules, and what is done to weights beside an optimizer's step."""
