"""CountXplain (Mohammed et al., MIDL 2025): prototypes on the features of a frozen CSRNet.

CSRNet's features → 1×1 convolution and sigmoid → squared L2 distances to K prototypes,
half of them cell and half background → ``log((d + 1) / (d + ε))`` → one 1×1 convolution →
density at 1/8. CSRNet learns to count with a head of its own first; then it stays as it is
and the rest learns.

Where the paper and its code (github.com/NRT-D4/CountXplain, ``twobranch_push.py``) differ,
or this differs from both:

- The paper's density is a linear combination of the similarities to all prototypes; the code
  gives the last convolution those of the cell prototypes alone: ``cell_only``.
- The weight of the density's mean squared error is 100 in the paper; the code multiplies both
  densities by 100 before, which makes it 10⁴: ``density_weight``. The code's default for the
  diversity loss is 100, the paper's 1: ``diversity_weight``.
- Density is zero, and lowest, at very many places; the code's ``argmin`` takes one of them. Here
  all of them count, as their mean. Crops without a cell, which the paper has not, tie no cell
  prototype to anything.
- Prototypes are projected onto features at validations and at the end, not every 100 epochs, and
  the last layer is then fitted by least squares (``celltally.learn``).
- The weights of the last layer start for a cell and against one, not at random.
- The variance head is ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from celltally.networks import losses
from celltally.networks.base import (
    HasStages,
    HasVariance,
    Output,
    Stage,
    Supervision,
    Target,
)
from celltally.networks.csrnet import (
    RATE,
    CSRNetConfig,
    CSRNetLayers,
    start_small,
    true_density,
)
from celltally.networks.layers import variance_head
from celltally.networks.prototypes import HasPrototypeHead, PrototypeHead
from celltally.networks.registry import register

__all__ = ["CountXplain", "CountXplainConfig", "extremes_loss"]

COUNTER = Stage("counter", 0.6, "dots", judged=False, rate=RATE)
PROTOTYPES = Stage("prototypes", 0.4, "dots")


@dataclass(frozen=True)
class CountXplainConfig(CSRNetConfig):
    """The numbers of the network: those of CSRNet, and its prototypes'.

    Attributes
    ----------
    prototypes
        Number of prototypes, half of them cell and half background (the paper: 6 or 8).
    depth
        Channels of the features that prototypes are compared with.
    epsilon
        ε of the similarity.
    cell_only
        Whether the cell prototypes alone make the density, as in the authors' code.
    prototype_weight, diversity_weight
        Weights of the prototype-to-feature and of the diversity loss.
    tolerance
        τ: cosine similarity of two prototypes of a group up to which they are diverse.
    """

    prototypes: int = 6
    depth: int = 64
    epsilon: float = 1e-4
    cell_only: bool = False
    prototype_weight: float = 1.0
    diversity_weight: float = 1.0
    tolerance: float = 0.0


class _Head(PrototypeHead):
    """Prototypes among features of any norm; the squared distance is a sum, not a mean."""

    shares: Tensor

    def __init__(self, config: CountXplainConfig) -> None:
        super().__init__(config.depth, config.prototypes, epsilon=config.epsilon, gain=1.0)
        nn.init.uniform_(self.vectors)  # where a sigmoid's features lie
        shares = torch.ones(config.prototypes)
        if config.cell_only:
            shares[config.prototypes // 2 :] = 0.0
        self.register_buffer("shares", shares, persistent=False)

    def distances(self, features: Tensor) -> Tensor:
        """Squared distances of ``(N, D, h, w)`` features, ``(N, K, h, w)``, ≥ 0."""
        # Not |f|² − 2 f·p + |p|², as in the code: a GPU's convolutions in TensorFloat-32 round
        # it by more than ε, and a prototype would not know the place that it was put onto.
        parts = [(features - v[:, None, None]).square().sum(dim=1) for v in self.vectors]
        return torch.stack(parts, dim=1)

    @property
    def contribution_weights(self) -> tuple[Tensor, Tensor]:
        """Weight ``(1, K)``, zero for prototypes that have no say, and bias ``(1,)``."""
        return self.weight * self.shares, self.bias


@register("countxplain")
class CountXplain(HasPrototypeHead, HasVariance, HasStages):
    """See the module's text and ``CountXplainConfig``."""

    config_type: ClassVar[type] = CountXplainConfig
    supervision: ClassVar[frozenset[Supervision]] = frozenset({"dots"})

    def __init__(self, config: CountXplainConfig) -> None:
        super().__init__()
        # A saved network has its weights: it is not to ask for others when it is built.
        self.config = replace(config, pretrained=False)
        self.layers = CSRNetLayers(config.width, config.pretrained)
        self.stride = self.multiple = self.layers.stride
        self.halo = self.layers.halo
        self.counter = nn.Conv2d(self.layers.depth, 1, 1)
        start_small(self.counter, config.width)
        self.project = nn.Conv2d(self.layers.depth, config.depth, 1)
        self.head = _Head(config)
        self.variance = variance_head(config.depth + 1)

    def features(self, images: Tensor, context: Tensor | None = None) -> Tensor:
        """``(N, 3, H, W)`` → ``(N, depth, H/8, W/8)`` float32 between 0 and 1."""
        return self._projected(self.layers(images))

    def forward(self, images: Tensor, context: Tensor | None = None) -> Output:
        """See ``CountingNetwork.forward``; there is no global context."""
        features = self.features(images)
        with torch.autocast(features.device.type, enabled=False):
            distances = self.distances(features)
            density = self.head.density(self.similarities(distances))
            known = torch.cat([features.detach(), density.detach()], dim=1)
            return Output(
                density=density,
                log_variance=self.variance(known).clamp(-16.0, 6.0),
                distances=distances if self.training else None,
            )

    def _projected(self, known: Tensor) -> Tensor:
        """CSRNet's features → those that prototypes are compared with."""
        with torch.autocast(known.device.type, enabled=False):
            return torch.sigmoid(self.project(known.float()))

    def variance_parameters(self) -> list[nn.Parameter]:
        """Parameters of the log-variance head."""
        return list(self.variance.parameters())

    @property
    def stages(self) -> tuple[Stage, ...]:
        """CSRNet, which nothing counts with yet; then all that comes after its features."""
        return COUNTER, PROTOTYPES

    def stage_parameters(self, stage: Stage) -> list[nn.Parameter]:
        """CSRNet's with its own head, or those of projection, prototypes and last layer."""
        first, second = (
            (self.layers, self.counter) if stage == COUNTER else (self.project, self.head)
        )
        return [*first.parameters(), *second.parameters()]

    def stage_loss(
        self, stage: Stage, images: Tensor, context: Tensor | None, target: Target
    ) -> Tensor:
        """Squared error of CSRNet's own density, or that of the prototypes and their losses."""
        config, truth = self.config, true_density(target)
        known = self.layers(images)
        with torch.autocast(known.device.type, enabled=False):
            if stage == COUNTER:
                return config.density_weight * functional.mse_loss(
                    self.counter(known.float()), truth
                )
            distances = self.distances(self._projected(known))
            density = self.head.density(self.similarities(distances))
            cells = config.prototypes // 2
            return (
                config.density_weight * functional.mse_loss(density, truth)
                + config.prototype_weight * extremes_loss(distances, truth, cells)
                + config.diversity_weight
                * losses.diversity_loss(self.prototypes, cells, config.tolerance)
            )

    @property
    def contributing(self) -> tuple[bool, ...]:
        """All prototypes, or the cell prototypes alone."""
        return tuple(kind == "cell" or not self.config.cell_only for kind in self.prototype_kinds)


def extremes_loss(distances: Tensor, density: Tensor, cells: int) -> Tensor:
    """CountXplain's prototype-to-feature loss, a scalar.

    The distance of every cell prototype to the feature where the true density of an image is
    highest and of every background prototype to that where it is lowest, as a mean over the
    images and a sum over the prototypes (as in the authors' code). Places of equal density are
    averaged; cell prototypes have no place in an image without density.

    Parameters
    ----------
    distances
        ``(N, K, h, w)`` squared distances.
    density
        ``(N, 1, h, w)`` true density.
    cells
        Number of cell prototypes; the others are background prototypes.
    """
    flat = density.flatten(1)
    highest = (flat == flat.amax(dim=1, keepdim=True)) & (flat > 0)
    lowest = flat == flat.amin(dim=1, keepdim=True)
    flat = distances.flatten(2)
    return _mean_at(flat[:, :cells], highest).sum() + _mean_at(flat[:, cells:], lowest).sum()


def _mean_at(distances: Tensor, places: Tensor) -> Tensor:
    """``(k,)`` means of ``(N, k, p)`` over each image's ``(N, p)`` places, then over images."""
    number = places.sum(dim=1)
    each = (distances * places[:, None]).sum(dim=2) / number.clamp_min(1)[:, None]
    return each.sum(dim=0) / (number > 0).sum().clamp_min(1)
