"""Sample images: three that anybody may use (see samples/ATTRIBUTION.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["SAMPLES", "fluorescent_nuclei", "sample_path", "u2os_hoechst_1", "u2os_hoechst_2"]

#: File of every sample by its key in the manifest.
SAMPLES = {
    "u2os-hoechst-1": "u2os-hoechst-1.tif",
    "u2os-hoechst-2": "u2os-hoechst-2.tif",
    "fluorescent-nuclei": "fluorescent-nuclei.png",
}


def sample_path(key: str) -> Path:
    """File of a sample image."""
    return Path(__file__).parent / "samples" / SAMPLES[key]


def _layers(key: str) -> list[tuple[Any, dict[str, Any], str]]:
    import numpy as np

    from celltally.io import read_image

    pixels = np.asarray(read_image(sample_path(key)).data[:])
    limits = tuple(float(v) for v in np.percentile(pixels, (0.5, 99.8)))
    return [(pixels, {"name": key, "contrast_limits": limits}, "image")]


def u2os_hoechst_1() -> list[tuple[Any, dict[str, Any], str]]:
    """U2OS nuclei, Hoechst stain, 128 cells."""
    return _layers("u2os-hoechst-1")


def u2os_hoechst_2() -> list[tuple[Any, dict[str, Any], str]]:
    """U2OS nuclei, Hoechst stain, crowded, 191 cells."""
    return _layers("u2os-hoechst-2")


def fluorescent_nuclei() -> list[tuple[Any, dict[str, Any], str]]:
    """Small fluorescent nuclei, 65 cells."""
    return _layers("fluorescent-nuclei")
