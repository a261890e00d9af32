"""A frozen config becomes objects: model, recipe, trainer, and a run from first to last."""
