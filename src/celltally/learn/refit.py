"""The last layer after a projection, by least squares: its optimum, not a step towards it.

With features and prototypes fixed, the density is linear in the weights of the
similarities, and ProtoPNet's last stage (Chen et al. 2019, §2.2, stage 3) is a convex
problem. Stochastic steps took a tenth of a training to come half way; one pass over the
training images and a linear system of the size of the prototypes give the solution.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from celltally.density import density_map
from celltally.learn.batches import SIGMA
from celltally.learn.features import image_features, model_grid
from celltally.learn.prepare import PreparedImage
from celltally.networks import HasPrototypes
from celltally.types import Progress

__all__ = ["LastLayer", "block_equations", "count_equation", "iter_refit"]

#: Weights of the mean squared errors, as in the training: of the density (in units of a
#: peak of 0.1), of counts in blocks by their side in density cells (divided by it, as errors
#: of independent cells grow with the root of the area), and of whole images (by the root
#: of their count).
BLOCKS = {1: 100.0, 4: 5.0, 16: 5.0}
WHOLE = 0.05
#: How strongly the weights are held where they were, as a share of the largest
#: eigenvalue: what the images hardly determine stays. (On eight sets the errors of images
#: that nothing was learned from were smallest between 1e-5 and 1e-6.)
RIDGE = 1e-6


def iter_refit(
    network: HasPrototypes,
    images: Sequence[PreparedImage],
    *,
    nominal_px: float,
    device: torch.device,
) -> Generator[Progress, None, None]:
    """Fit weights and bias of the similarities to the dots of whole images, in place.

    The sum of the squared errors of counts, in blocks of several sizes and of the whole
    image (divided by the root of its count), is least afterwards. Images of which only
    the count is known take part with the last of these.

    Parameters
    ----------
    network
        Changed in place.
    images
        Training images, as they are.
    nominal_px
        Cell diameter at model scale.
    device
        Where the network runs.
    """
    network.eval().to(device)
    last = LastLayer(network)
    for done, image in enumerate(images, start=1):
        for rows, wanted in _equations(network, image, nominal_px, device):
            last.add(rows, wanted)
        yield Progress(done, len(images), "refitting the last layer")
    if images:
        last.solve()


class LastLayer:
    """Normal equations for weights and bias of the similarities of a network.

    Parameters
    ----------
    network
        Its weights change when the equations are solved.
    ridge
        See ``RIDGE``.
    """

    def __init__(self, network: HasPrototypes, ridge: float = RIDGE) -> None:
        self.network, self.ridge = network, ridge
        weight, bias = (w.detach().double().cpu() for w in network.contribution_weights)
        self._free = torch.tensor([*network.contributing, True])  # and the bias
        self._kept = torch.cat([weight, bias[:, None]], dim=1).T  # (K + 1, classes)
        self._before = self._kept[self._free]
        self._normal = torch.zeros(len(self._before), len(self._before), dtype=torch.float64)
        self._right = torch.zeros_like(self._before)

    def add(self, rows: Tensor, wanted: Tensor) -> None:
        """Add equations: rows ``(n, K + 1)`` of similarities and one, counts ``(n, classes)``."""
        self._normal += rows[:, self._free].T @ rows[:, self._free]
        self._right += rows[:, self._free].T @ wanted

    def solve(self, rounded: Callable[[HasPrototypes], object] | None = None) -> None:
        """Set the weights to the least-squares solution that lies nearest to those before.

        Parameters
        ----------
        rounded
            Rounds the network to what is stored, in place. A density is the sum of many small
            numbers, and what rounding a weight does to it adds up over an image to several
            cells; so the weights are rounded one after the other, and those left are solved
            anew, to make up for it (Frantar & Alistarh 2022, "Optimal brain compression", §4).
        """
        size = len(self._before)
        normal = self._normal + self.ridge * torch.linalg.eigvalsh(self._normal)[-1] * torch.eye(
            size
        )
        right = self._right - self._normal @ self._before
        change = torch.linalg.solve(normal, right)
        self._put(change)
        if rounded is None:
            return
        for done in range(size):
            rounded(self.network)
            change[done] = (self._now() - self._before)[done]
            rest = slice(done + 1, size)
            if done + 1 < size:
                left = right[rest] - normal[rest, : done + 1] @ change[: done + 1]
                change[rest] = torch.linalg.solve(normal[rest, rest], left)
            self._put(change)
        rounded(self.network)

    def _put(self, change: Tensor) -> None:
        self._kept[self._free] = self._before + change
        after = self._kept.T.to(self.network.prototypes.device, torch.float32)
        self.network.set_contribution_weights(after[:, :-1], after[:, -1])

    def _now(self) -> Tensor:
        weight, bias = (w.detach().double().cpu() for w in self.network.contribution_weights)
        return torch.cat([weight, bias[:, None]], dim=1).T[self._free]


def block_equations(
    known: Tensor, target: Tensor, asked: Tensor | None = None
) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Equations of the counts in blocks, weighted as ``BLOCKS`` says.

    Parameters
    ----------
    known
        ``(1, K + 1, h, w)`` float64: similarities and one.
    target
        ``(1, 1, h, w)`` true density.
    asked
        ``(1, 1, h, w)``, 1 where the truth is known and 0 elsewhere; None: everywhere.
    """
    if asked is not None:
        known, target = known * asked, target * asked
    for block, weight in BLOCKS.items():
        pooled, wanted = (
            functional.avg_pool2d(m, block, ceil_mode=True, divisor_override=1)[0].flatten(1).T
            for m in (known, target)
        )
        if asked is not None:
            there = pooled[:, -1] > 0
            pooled, wanted = pooled[there], wanted[there]
        scale = (weight / max(len(pooled), 1)) ** 0.5 / block
        yield pooled * scale, wanted * scale


def count_equation(known: Tensor, count: float) -> tuple[Tensor, Tensor]:
    """Equation of the count of all of ``known``, divided by the root of the count.

    A count that another network gave may be a little below 0.
    """
    scale = ((max(count, 0.0) + 1.0) / WHOLE) ** 0.5
    return known.sum(dim=(2, 3)) / scale, known.new_full((1, 1), count / scale)


def _equations(
    network: HasPrototypes, image: PreparedImage, nominal_px: float, device: torch.device
) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Rows ``(n, K + 1)`` of similarities and one, and the counts ``(n, 1)`` that they give."""
    with torch.inference_mode():
        similarities = network.similarities(
            network.distances(image_features(network, image, device))
        )
    # Sums of many similar numbers are taken in float64, which not every device has.
    known = similarities.cpu().double()
    known = torch.cat([known, torch.ones_like(known[:, :1])], dim=1)
    yield count_equation(known, image.count)
    if image.yx is None:
        return
    grid = model_grid(image, network.stride)
    target = torch.from_numpy(density_map(image.yx, grid, SIGMA * nominal_px))[None, None]
    yield from block_equations(known, target.double())
