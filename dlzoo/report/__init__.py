"""Report on the runs of a comparison: a page, LaTeX tables, plots, and the numbers as JSON."""
