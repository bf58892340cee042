"""How sure a count is."""

from celltally.intervals.aleatoric import Scale, fit_scale
from celltally.intervals.audit import AuditedTotal, audited_total
from celltally.intervals.belonging import which_counts
from celltally.intervals.conformal import MIN_GROUPS, calibrate, score_quantile
from celltally.intervals.corrected import Corrected, Measured, corrected, measure
from celltally.intervals.likeness import MOST_APPEARANCES, known_appearances, likeness_score
from celltally.intervals.of import check_level, count_in, of, unlike
from celltally.intervals.places import Place, places_to_check
from celltally.intervals.recalibrate import (
    Audit,
    AuditSummary,
    recalibrate,
    still_needed,
    summarise_audits,
    unmeasured,
)
from celltally.intervals.uncertainty import uncertainty

__all__ = [
    "MIN_GROUPS",
    "MOST_APPEARANCES",
    "Audit",
    "AuditSummary",
    "AuditedTotal",
    "Corrected",
    "Measured",
    "Place",
    "Scale",
    "audited_total",
    "calibrate",
    "check_level",
    "corrected",
    "count_in",
    "fit_scale",
    "known_appearances",
    "likeness_score",
    "measure",
    "of",
    "places_to_check",
    "recalibrate",
    "score_quantile",
    "still_needed",
    "summarise_audits",
    "uncertainty",
    "unlike",
    "unmeasured",
    "which_counts",
]
