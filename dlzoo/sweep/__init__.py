"""Plan, schedule and execute many runs: sweeps, comparisons and searches."""
