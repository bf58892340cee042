"""Networks: images at model scale in, density and variance out."""

from celltally.networks.base import CountingNetwork, HasPrototypes, HasVariance, Output
from celltally.networks.registry import build, config_of, names, register

__all__ = [
    "CountingNetwork",
    "HasPrototypes",
    "HasVariance",
    "Output",
    "build",
    "config_of",
    "names",
    "register",
]
