"""Execute the runs of a sweep: as local processes, with Slurm or with Ray."""
