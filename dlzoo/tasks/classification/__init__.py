"""Classification: one class for each sample."""

from dlzoo.tasks.classification.spec import ClassificationSpec

__all__ = ["ClassificationSpec"]
