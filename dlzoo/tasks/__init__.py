"""What a network is trained for. A task gets objects (network, loss, feeds, ...), never a config."""
