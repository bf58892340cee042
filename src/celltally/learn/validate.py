"""Count errors of a network on whole, prepared images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from celltally.learn.prepare import PreparedImage
from celltally.networks import CountingNetwork
from celltally.predict import infer
from celltally.progress import drain

__all__ = ["Scores", "overall_error", "validate"]


@dataclass(frozen=True)
class Scores:
    """Count errors on the images of one data set.

    Attributes
    ----------
    n
        Number of images.
    mae, bias
        Mean absolute and mean signed error, in cells.
    mean_count
        Mean true count.
    """

    n: int
    mae: float
    bias: float
    mean_count: float


def validate(
    network: CountingNetwork, images: Sequence[PreparedImage], device: torch.device
) -> dict[str, Scores]:
    """Scores by data set; the network is left in evaluation mode."""
    network.eval()
    errors: dict[str, list[tuple[float, float]]] = {}
    for image in images:
        (density, _), _ = drain(infer(network, image.values.float(), device=device))
        predicted = float(np.maximum(0.0, density.sum(dtype=np.float64)))  # NaN stays NaN
        errors.setdefault(image.dataset, []).append((predicted - image.count, image.count))
    return {
        name: Scores(
            n=len(rows),
            mae=float(np.mean([abs(e) for e, _ in rows])),
            bias=float(np.mean([e for e, _ in rows])),
            mean_count=float(np.mean([c for _, c in rows])),
        )
        for name, rows in errors.items()
    }


def overall_error(scores: dict[str, Scores]) -> float:
    """Mean over data sets of the error relative to the mean count: sets weigh alike."""
    return float(np.mean([s.mae / max(s.mean_count, 1.0) for s in scores.values()]))
