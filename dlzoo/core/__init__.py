"""The ground: errors, registries, schemas, the index, random streams and what the ranks agree about."""
