"""Classification: one class a sample."""

from dlzoo.tasks.classification.spec import ClassificationSpec

__all__ = ["ClassificationSpec"]
