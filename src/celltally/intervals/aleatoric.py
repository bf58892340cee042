"""How large a count's error is expected to be: ``s² = α Σvariance + β (Σdensity)² + γ``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Scale", "fit_scale"]

# Errors are taken as Student's t with this many degrees of freedom, so that one
# image that went wrong does not set the scale of all the others.
_FREEDOM = 5.0
# What is expected before any image was seen, with the weight of one image: a count
# is off by a tenth and one cell. It keeps s away from zero where few errors happen
# to be tiny, and fades with the number of images.
_PRIOR_RELATIVE = 0.1
_PRIOR_CELLS = 1.0
_STEPS = 300


@dataclass(frozen=True)
class Scale:
    """Non-negative coefficients of s²; at least one is positive."""

    alpha: float
    beta: float
    gamma: float

    def __call__(self, variances: ArrayLike, counts: ArrayLike) -> NDArray[np.float64]:
        """Return s in cells, for sums of the variance map and of the density."""
        variance = np.maximum(np.asarray(variances, dtype=np.float64), 0.0)
        count = np.asarray(counts, dtype=np.float64)
        return np.asarray(np.sqrt(self.alpha * variance + self.beta * count**2 + self.gamma))


def fit_scale(errors: ArrayLike, variances: ArrayLike, counts: ArrayLike) -> Scale:
    """Fit the coefficients of s² to count errors by maximum likelihood.

    The errors are modelled as Student's t with 5 degrees of freedom and scale s
    (a Gaussian that forgives outliers), plus one image's worth of prior. The
    minimum is found by multiplicative majorise-minimise updates: they keep the
    coefficients non-negative, and each one lowers the likelihood's negative
    logarithm, so there is no step size and no randomness.

    Parameters
    ----------
    errors
        ``(n,)`` true minus predicted counts, n ≥ 1.
    variances
        ``(n,)`` sums of the variance maps; all zero for a model without one.
    counts
        ``(n,)`` predicted counts.

    Returns
    -------
    Scale
    """
    error2 = np.asarray(errors, dtype=np.float64) ** 2
    variance = np.maximum(np.asarray(variances, dtype=np.float64), 0.0)
    count2 = np.asarray(counts, dtype=np.float64) ** 2
    terms = np.stack([variance, count2, np.ones_like(count2)])
    n = len(error2)
    prior2 = _PRIOR_RELATIVE**2 * count2 + _PRIOR_CELLS**2

    # Terms of the same size: the start is then a fair one, and the steps alike.
    size = terms.mean(axis=1)
    used = size > 0
    terms = terms[used] / size[used, None]
    coefficients = np.full(len(terms), error2.mean() + prior2.mean()) / len(terms)
    for _ in range(_STEPS):
        s2 = coefficients @ terms
        forgiving = (_FREEDOM + 1) / (_FREEDOM + error2 / s2)
        seen2 = (n * forgiving * error2 + prior2) / (n + 1)
        coefficients = coefficients * np.sqrt((terms @ (seen2 / s2**2)) / (terms @ (1 / s2)))
    fitted = np.zeros(3)
    fitted[used] = coefficients / size[used]
    return Scale(*(float(c) for c in fitted))
