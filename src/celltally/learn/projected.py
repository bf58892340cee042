"""What projecting the prototypes and refitting the last layer did to a network."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from celltally.learn.prepare import PreparedImage
from celltally.learn.validate import Scores, validate
from celltally.networks import HasPrototypes
from celltally.networks.groups import distinct, excess_cosine

__all__ = ["Head", "Projected", "count_errors", "told"]


@dataclass(frozen=True, eq=False)
class Head:
    """Prototypes and last layer of a network.

    Attributes
    ----------
    prototypes
        ``(K, D)``.
    weight, bias
        ``(classes, K)`` and ``(classes,)``.
    """

    prototypes: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, network: HasPrototypes) -> Head:
        """Copy those of a network."""
        tensors = (network.prototypes, *network.contribution_weights)
        return cls(*(t.detach().clone() for t in tensors))

    def put_into(self, network: HasPrototypes) -> None:
        """Replace those of a network by these."""
        network.set_prototypes(self.prototypes)
        network.set_contribution_weights(self.weight, self.bias)


@dataclass(frozen=True, eq=False)
class Projected:
    """The heads that a network had on its way.

    Attributes
    ----------
    learned
        As the training left it.
    projected
        With projected prototypes, and the last layer as it was.
    astray
        Of each prototype, whether it was nearer to a place of the other group than to
        any of its own before it was projected.
    """

    learned: Head
    projected: Head
    astray: tuple[bool, ...]

    def figures(self, network: HasPrototypes, tolerance: float) -> dict[str, Any]:
        """Say how the prototypes were before the projection, for the record."""
        free = copy.deepcopy(network)
        self.learned.put_into(free)
        return {
            "excess cosine before projection": round(excess_cosine(free, tolerance), 4),
            "distinct prototypes before projection": distinct(free),
            "prototypes astray before projection": sum(self.astray),
        }


def count_errors(
    network: HasPrototypes,
    projected: Projected,
    images: Sequence[PreparedImage],
    device: torch.device,
) -> dict[str, dict[str, float]]:
    """Mean absolute count errors that the network had on its way, by data set.

    Parameters
    ----------
    network
        With projected prototypes and a refitted last layer; it stays as it is.
    projected
        What it had before.
    images
        Validation images.
    device
        Where the network runs.

    Returns
    -------
    dict
        ``mae_before_projection`` and ``mae_projected`` (before the refit), in cells.
    """
    trial = copy.deepcopy(network)
    found: dict[str, dict[str, float]] = {}
    heads = {"mae_before_projection": projected.learned, "mae_projected": projected.projected}
    for figure, head in heads.items():
        head.put_into(trial)
        for name, scores in validate(trial, images, device).items():
            found.setdefault(name, {})[figure] = scores.mae
    return found


def told(scores: dict[str, Scores], before: dict[str, dict[str, float]]) -> str:
    """Say in words how the count error went, as a mean over the data sets."""
    sets = len(scores)
    learned = sum(row["mae_before_projection"] for row in before.values()) / sets
    moved = sum(row["mae_projected"] for row in before.values()) / sets
    refitted = sum(s.mae for s in scores.values()) / sets
    return (
        f"count error on validation images {learned:.3g} cells before it, {moved:.3g} after it, "
        f"{refitted:.3g} with the last layer refitted"
    )
