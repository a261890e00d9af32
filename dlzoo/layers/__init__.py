"""What models are made of. Only this room names torch's norms and activations."""
