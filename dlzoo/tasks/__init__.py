"""Tasks: what a network is trained for. Their LightningModules get objects (network, loss, loaders), never a config."""
