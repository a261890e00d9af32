"""Describe entries, models, data sets and runs."""
