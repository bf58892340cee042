"""What each prototype adds to a density or a count, and what the bias adds.

With w_k the weight of prototype k, s_k the similarity to it and b the bias, the density of a
place is Σ_k w_k·s_k + b (CountXplain, MIDL 2025, and ``celltally.networks.prototypes``), and
the count of a region or an image the sum of that over its density cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from celltally.explain.similarity import Similarities

__all__ = ["Contributions", "contributions_at", "contributions_over", "contributions_table"]


@dataclass(frozen=True, eq=False)
class Contributions:
    """Parts of a sum, signed.

    Attributes
    ----------
    prototypes, kinds
        Numbers of the K prototypes, and ``cell`` or ``background`` for each.
    weights
        ``(K,)`` weights of the similarities in the density.
    values
        ``(K,)`` float64: weight × similarity. At a place in cells per density cell, over a
        region or an image in cells.
    bias
        What the bias adds, in the same unit.
    """

    prototypes: tuple[int, ...]
    kinds: tuple[str, ...]
    weights: NDArray[np.float32]
    values: NDArray[np.float64]
    bias: float

    @property
    def total(self) -> float:
        """The density at the place, or the count; it may be a little below zero."""
        return float(self.values.sum()) + self.bias


def contributions_at(found: Similarities, yx: ArrayLike) -> Contributions:
    """Parts of the density at a place ``(y, x)`` in image pixels, see ``Similarities.at``."""
    return Contributions(
        found.prototypes, found.kinds, found.weights, found.at(yx), float(found.bias)
    )


def contributions_over(found: Similarities, region: ArrayLike) -> Contributions:
    """Parts of the count in a polygon, see ``Similarities.over``."""
    values, bias = found.over(region)
    return Contributions(found.prototypes, found.kinds, found.weights, values, bias)


def contributions_table(
    whole: Contributions,
    bias: float,
    places: Sequence[tuple[tuple[float, float], Contributions]] = (),
) -> pd.DataFrame:
    """Contributions as a table, as ``contributions.csv`` has it.

    Parameters
    ----------
    whole
        Of the whole image.
    bias
        That of one density cell, which stands where prototypes have their weight.
    places
        Places ``(y, x)`` in image pixels, and the contributions there.

    Returns
    -------
    pandas.DataFrame
        A row per prototype and a last one for the bias, which has no number and is of the
        kind ``bias``. ``contribution`` is in cells and adds up to the image's count; a column
        ``at_<y>_<x>`` is in cells per density cell and adds up to the density there.
    """
    columns: dict[str, object] = {
        "prototype": pd.array([*whole.prototypes, None], dtype="Int64"),
        "kind": [*whole.kinds, "bias"],
        "weight": [*whole.weights.astype(float).tolist(), bias],
        "contribution": [*whole.values.tolist(), whole.bias],
    }
    for (y, x), there in places:
        columns[f"at_{y:g}_{x:g}"] = [*there.values.tolist(), there.bias]
    return pd.DataFrame(columns)
