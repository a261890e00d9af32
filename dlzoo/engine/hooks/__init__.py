"""Hooks: what happens beside a training, such as loggers. None of them changes its result or stops it."""
