"""What makes runs a comparison: what varies in them, what repeats, whether it is fair, and what the numbers say."""
