"""Accumulators, evaluations and plots that tasks share."""
