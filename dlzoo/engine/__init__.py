"""The training loop: its clock, passes, checkpoints and callbacks."""
