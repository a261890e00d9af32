"""What there is, and what an entry takes."""
