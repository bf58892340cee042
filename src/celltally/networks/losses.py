"""What a network is asked for; each loss is a function of tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "BLOCKS",
    "block_count_loss",
    "count_loss",
    "density_loss",
    "diversity_loss",
    "prototype_to_feature_loss",
    "variance_loss",
]

#: Sides, in density cells, of the blocks whose counts are asked for. The square of a
#: whole crop's error is not among them: it pulls every place the same way, to and fro
#: with the sets in a batch, and drowns what could be learned of cells (measured on four
#: sets, 1,000 steps: mean relative error 0.160 with it, 0.118 without). Its absolute
#: value has a gradient of one size, and is asked for with a small weight.
BLOCKS = (4, 16)


def density_loss(
    density: Tensor, target: Tensor, gain: float, weight: Tensor | None = None
) -> Tensor:
    """Mean squared error of ``(N, K, h, w)`` densities in units of a peak's height.

    ``weight``, ``(N, 1, h, w)``, is 0 where nothing is known.
    """
    if weight is None:
        return functional.mse_loss(density / gain, target / gain)
    squares = ((density - target) / gain).square() * weight
    return squares.sum() / weight.sum().clamp_min(1.0)


def block_count_loss(
    density: Tensor, target: Tensor, blocks: tuple[int, ...], weight: Tensor | None = None
) -> Tensor:
    """Mean squared error of the count in blocks of cells, averaged over block sizes.

    Of a block of which only a part is known (``weight``, ``(N, 1, h, w)``, is 0 elsewhere) the
    part is counted, and the block weighs as much.

    Pixelwise losses see a misplaced blob as two errors and a missing faint one as
    hardly any; counts in blocks see it the other way round. Squared, because the
    absolute error is smallest at the median, which for a block that holds a cell now
    and then is zero.
    """
    error = density - target
    if weight is not None:
        error = error * (weight > 0)
    total = error.new_zeros(())
    for block in blocks:
        sums = functional.avg_pool2d(error, block, ceil_mode=True, divisor_override=1)
        # Errors of independent cells grow with the root of the area.
        squares = (sums / block).square()
        if weight is None:
            total = total + squares.mean()
        else:
            share = functional.avg_pool2d(weight, block, ceil_mode=True)
            total = total + (squares * share).sum() / share.sum().clamp_min(1.0)
    return total / len(blocks)


def count_loss(density: Tensor, counts: Tensor) -> Tensor:
    """Mean absolute error of whole images' counts, each in units of ``√(count + 1)``.

    Counts that another network gave may be a little below 0.
    """
    predicted = density.sum(dim=(1, 2, 3))
    return ((predicted - counts).abs() / (counts.clamp_min(0.0) + 1.0).sqrt()).mean()


def prototype_to_feature_loss(distances: Tensor, target: Tensor, cells: int) -> Tensor:
    """Tie cell prototypes to density maxima and background prototypes to its minima.

    After the prototype-to-feature loss of CountXplain (MIDL 2025), which looks at one
    maximum and minimum per image (``celltally.networks.countxplain.extremes_loss``): here
    each prototype's smallest distance to a feature of its own group.

    Parameters
    ----------
    distances
        ``(N, K, h, w)`` squared distances.
    target
        ``(N, 1, h, w)`` true density; its local maxima are the cells' centres.
    cells
        Number of cell prototypes; the others are background prototypes.
    """
    peak = functional.max_pool2d(target, 3, stride=1, padding=1)
    is_cell = (target == peak) & (target > 0.3 * target.amax().clamp_min(1e-6)) & (target > 1e-3)
    is_background = functional.max_pool2d(target, 3, stride=1, padding=1) < 1e-4
    flat = distances.transpose(0, 1).flatten(1)
    parts = []
    for rows, places in ((flat[:cells], is_cell), (flat[cells:], is_background)):
        chosen = places.transpose(0, 1).flatten()
        if bool(chosen.any()):
            parts.append(rows[:, chosen].amin(dim=1).mean())
    return torch.stack(parts).mean() if parts else distances.new_zeros(())


def diversity_loss(prototypes: Tensor, cells: int, tolerance: float) -> Tensor:
    """Mean off-diagonal cosine similarity above a tolerance, within each group.

    CountXplain (MIDL 2025), diversity loss with threshold τ.
    """
    parts = []
    for group in (prototypes[:cells], prototypes[cells:]):
        unit = functional.normalize(group, dim=1)
        cosine = unit @ unit.T
        others = ~torch.eye(len(group), dtype=torch.bool, device=group.device)
        excess = (cosine[others] - tolerance).clamp_min(0.0)
        parts.append(excess.mean() if len(group) > 1 else excess.sum())  # alone is diverse
    return torch.stack(parts).mean()


def variance_loss(
    density: Tensor, log_variance: Tensor, target: Tensor, blocks: tuple[int, ...]
) -> Tensor:
    """Gaussian negative log-likelihood of counts in blocks.

    The aleatoric loss of Kendall & Gal (2017), eq. 8, which Hernández et al. 2018
    use: here over blocks, because errors of neighbouring density cells are not
    independent, and what is asked for is the variance of a count.
    """
    error = (density - target).detach()
    variance = log_variance.exp()
    total = error.new_zeros(())
    for block in blocks:
        e = functional.avg_pool2d(error, block, ceil_mode=True, divisor_override=1)
        v = functional.avg_pool2d(variance, block, ceil_mode=True, divisor_override=1) + 1e-6
        total = total + 0.5 * (e.square() / v + v.log() + math.log(2 * math.pi)).mean()
    return total / len(blocks)
