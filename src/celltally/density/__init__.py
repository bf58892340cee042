"""Dots ⇄ density, and dots ⇄ dots."""

from celltally.density.maps import density_map
from celltally.density.matching import Matching, Rates, match_dots, rates
from celltally.density.peaks import (
    Candidates,
    dots_from_prediction,
    find_peaks,
    prediction_candidates,
    threshold_for_count,
)

__all__ = [
    "Candidates",
    "Matching",
    "Rates",
    "density_map",
    "dots_from_prediction",
    "find_peaks",
    "match_dots",
    "prediction_candidates",
    "rates",
    "threshold_for_count",
]
