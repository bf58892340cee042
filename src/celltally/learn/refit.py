"""The last layer after a projection, by least squares: its optimum, not a step towards it.

With features and prototypes fixed, the density is linear in the weights of the
similarities, and ProtoPNet's last stage (Chen et al. 2019, §2.2, stage 3) is a convex
problem. Stochastic steps took a tenth of a training to come half way; one pass over the
training images and a linear system of the size of the prototypes give the solution.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from celltally.density import density_map
from celltally.learn.batches import SIGMA
from celltally.learn.features import image_features, model_grid
from celltally.learn.prepare import PreparedImage
from celltally.networks import HasPrototypes
from celltally.types import Progress

__all__ = ["iter_refit"]

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
    weight, bias = (w.detach().double().cpu() for w in network.contribution_weights)
    free = torch.tensor([*network.contributing, True])  # and the bias
    kept = torch.cat([weight, bias[:, None]], dim=1).T  # (K + 1, classes)
    before = kept[free]
    normal = torch.zeros(len(before), len(before), dtype=torch.float64)
    right = torch.zeros_like(before)
    for done, image in enumerate(images, start=1):
        for rows, wanted in _equations(network, image, nominal_px, device):
            normal += rows[:, free].T @ rows[:, free]
            right += rows[:, free].T @ wanted
        yield Progress(done, len(images), "refitting the last layer")
    if images:
        held = RIDGE * torch.linalg.eigvalsh(normal)[-1] * torch.eye(len(before))
        change = torch.linalg.solve(normal + held, right - normal @ before)
        kept[free] = before + change
        after = kept.T.to(device, torch.float32)
        network.set_contribution_weights(after[:, :-1], after[:, -1])


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
    scale = ((image.count + 1.0) / WHOLE) ** 0.5
    yield known.sum(dim=(2, 3)) / scale, known.new_full((1, 1), image.count / scale)
    if image.yx is None:
        return
    grid = model_grid(image, network.stride)
    target = torch.from_numpy(density_map(image.yx, grid, SIGMA * nominal_px))[None, None]
    for block, weight in BLOCKS.items():
        pooled, wanted = (
            functional.avg_pool2d(m, block, ceil_mode=True, divisor_override=1)[0].flatten(1).T
            for m in (known, target.double())
        )
        scale = (weight / len(pooled)) ** 0.5 / block
        yield pooled * scale, wanted * scale
