"""Networks: images at model scale in, density and variance out."""

from celltally.networks.base import (
    CanGrow,
    CountingNetwork,
    HasPieces,
    HasPrototypes,
    HasStages,
    HasVariance,
    Output,
    Stage,
    Target,
    all_but_variance,
)
from celltally.networks.registry import build, config_of, names, parse_settings, register

__all__ = [
    "CanGrow",
    "CountingNetwork",
    "HasPieces",
    "HasPrototypes",
    "HasStages",
    "HasVariance",
    "Output",
    "Stage",
    "Target",
    "all_but_variance",
    "build",
    "config_of",
    "names",
    "parse_settings",
    "register",
]
