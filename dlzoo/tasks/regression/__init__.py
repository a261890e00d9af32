"""Regression: numbers to predict."""
