"""Comparisons of runs: factors, repetitions, fairness and statistics."""
