"""Errors, registries, schemas, the index, random streams and the processes of a distributed run."""
