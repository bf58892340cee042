"""How alike the prototypes of a group are: whether each says something of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn import functional

from celltally.networks import losses
from celltally.networks.base import HasPrototypes

__all__ = ["ALIKE", "distinct", "excess_cosine", "group_cosines", "least_distance", "tolerance_of"]

#: Cosine similarity from which two prototypes of a group are taken for one.
ALIKE = 0.95


def tolerance_of(network: HasPrototypes, usual: float) -> float:
    """τ of the diversity loss: that of the network's config, or the training's."""
    return float(getattr(network.config, "tolerance", usual))


def excess_cosine(network: HasPrototypes, tolerance: float) -> float:
    """Mean off-diagonal cosine above τ within groups, as the diversity loss has it."""
    cells = network.prototype_kinds.count("cell")
    return float(losses.diversity_loss(network.prototypes.detach(), cells, tolerance))


def group_cosines(network: HasPrototypes) -> dict[str, NDArray[np.float64]]:
    """``(n, n)`` cosine similarities of the prototypes of each group, by its kind."""
    return {
        kind: unit @ unit.T
        for kind, group in _groups(network).items()
        for unit in [functional.normalize(group, dim=1).numpy()]
    }


def least_distance(network: HasPrototypes) -> dict[str, float]:
    """Smallest L2 distance of two prototypes of each group; infinite for one that is alone."""
    found = {}
    for kind, group in _groups(network).items():
        vectors = group.numpy()
        distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
        distances[np.diag_indices(len(vectors))] = np.inf
        found[kind] = float(distances.min())
    return found


def distinct(network: HasPrototypes, alike: float = ALIKE) -> int:
    """Count the prototypes, those that are alike once.

    Parameters
    ----------
    network
        Whose prototypes.
    alike
        Prototypes of a group with at least this cosine similarity are alike, and so are
        those that a chain of such pairs links.
    """
    return sum(
        int(connected_components(cosines >= alike, directed=False)[0])
        for cosines in group_cosines(network).values()
    )


def _groups(network: HasPrototypes) -> dict[str, Tensor]:
    """``(n, D)`` float64 vectors by kind."""
    vectors, kinds = network.prototypes.detach().cpu().double(), network.prototype_kinds
    return {
        kind: vectors[[k for k, other in enumerate(kinds) if other == kind]]
        for kind in dict.fromkeys(kinds)
    }
