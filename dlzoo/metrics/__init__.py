"""What is measured, and the pictures of it."""
