"""What measures a split, whatever the task: accumulators, evaluations and plots that tasks share."""
