"""Runs of a comparison as a report: one page, a table for a paper, pictures, and the numbers."""
