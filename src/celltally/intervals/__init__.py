"""How sure a count is."""

from celltally.intervals.aleatoric import Scale, fit_scale
from celltally.intervals.audit import AuditedTotal, audited_total
from celltally.intervals.conformal import MIN_GROUPS, calibrate, score_quantile
from celltally.intervals.of import check_level, count_in, of, unlike

__all__ = [
    "MIN_GROUPS",
    "AuditedTotal",
    "Scale",
    "audited_total",
    "calibrate",
    "check_level",
    "count_in",
    "fit_scale",
    "of",
    "score_quantile",
    "unlike",
]
