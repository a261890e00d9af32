"""Losses: modules called as loss(input, target)."""
