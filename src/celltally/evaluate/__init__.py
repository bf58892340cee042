"""How good a model is, in numbers."""

from celltally.evaluate.metrics import count_metrics, dot_metrics

__all__ = ["count_metrics", "dot_metrics"]
