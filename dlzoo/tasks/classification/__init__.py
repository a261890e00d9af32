"""Classification: one class a sample."""
