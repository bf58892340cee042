"""How sure a count is."""

from celltally.intervals.aleatoric import Scale, fit_scale
from celltally.intervals.conformal import MIN_GROUPS, calibrate, score_quantile
from celltally.intervals.of import of, unlike

__all__ = ["MIN_GROUPS", "Scale", "calibrate", "fit_scale", "of", "score_quantile", "unlike"]
