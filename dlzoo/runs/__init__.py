"""The run directory: the one interface between training and everything after it."""
