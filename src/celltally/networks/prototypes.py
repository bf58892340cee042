"""Prototype similarities as the only way to the density (CountXplain, MIDL 2025)."""

from __future__ import annotations

from dataclasses import fields
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from celltally.networks.base import CanGrow

__all__ = ["HasPrototypeHead", "PrototypeHead"]


class PrototypeHead(nn.Module):
    """Squared distances to prototypes → similarities → density, exactly additive.

    ``density(x) = bias + Σ_k weight_k · log((d_k(x) + 1) / (d_k(x) + ε))`` with
    ``d_k`` the squared L2 distance of the features at x to prototype k. Nothing
    follows, so weight × similarity are the contributions of the prototypes.

    Differences from CountXplain, each for a reason: features are free in sign and
    of constant norm (behind a sigmoid all cosines start high and prototypes of a
    group stay alike), and distances are divided by the depth, so that they lie in
    0 … 4 at any depth and the logarithm keeps its slope.

    Parameters
    ----------
    depth
        Channels D of the features.
    prototypes
        Number K of prototypes; the first half are cell prototypes, the second
        half background prototypes.
    classes
        Number of density maps.
    epsilon
        ε of the similarity; the largest similarity is ``log(1/ε)``.
    gain
        Fixed factor on weight and bias: the height of a typical density peak, so
        that weights are of the order of one.
    """

    def __init__(
        self, depth: int, prototypes: int, *, classes: int = 1, epsilon: float, gain: float
    ) -> None:
        super().__init__()
        if prototypes < 2 or prototypes % 2:
            raise ValueError(f"prototypes come in two groups of equal size, not {prototypes}")
        self.epsilon, self.gain = epsilon, gain
        start = torch.randn(prototypes, depth)
        self.vectors = nn.Parameter(functional.normalize(start, dim=1) * depth**0.5)
        signs = torch.ones(prototypes)
        signs[prototypes // 2 :] = -1.0
        self.weight = nn.Parameter(signs.repeat(classes, 1) / prototypes)
        self.bias = nn.Parameter(torch.zeros(classes))

    def distances(self, features: Tensor) -> Tensor:
        """Squared distances / D of ``(N, D, h, w)`` features, ``(N, K, h, w)``, ≥ 0.

        ``|f − p|² = |f|² − 2 f·p + |p|²`` with ``|f|² = D``, the constant norm that
        features have: one convolution.
        """
        depth = features.shape[1]
        kernel = self.vectors[:, :, None, None] * (-2.0 / depth)
        own = 1.0 + self.vectors.square().sum(dim=1) / depth
        return functional.conv2d(features, kernel, own).clamp_min_(0.0)

    def similarities(self, distances: Tensor) -> Tensor:
        """``log((d + 1) / (d + ε))``, computed as ``log1p((1 − ε) / (d + ε))``."""
        if torch.is_grad_enabled():
            return torch.log1p((1.0 - self.epsilon) / (distances + self.epsilon))
        # In place: at full resolution the time goes into touching memory.
        ratio = (distances + self.epsilon).reciprocal_()
        return ratio.mul_(1.0 - self.epsilon).log1p_()

    def density(self, similarities: Tensor) -> Tensor:
        """Weighted sum of ``(N, K, h, w)`` similarities, ``(N, classes, h, w)``."""
        weight, bias = self.contribution_weights
        return functional.conv2d(similarities, weight[:, :, None, None], bias)

    @property
    def contribution_weights(self) -> tuple[Tensor, Tensor]:
        """Weight ``(classes, K)`` and bias ``(classes,)`` of the similarities."""
        return self.weight * self.gain, self.bias * self.gain


class HasPrototypeHead(CanGrow):
    """A network whose prototypes are those of its ``head``, as many as its config says."""

    head: PrototypeHead

    @property
    def prototypes(self) -> Tensor:
        """``(K, D)``."""
        return self.head.vectors

    @property
    def prototype_kinds(self) -> tuple[str, ...]:
        """The first half are cell prototypes."""
        half = len(self.head.vectors) // 2
        return ("cell",) * half + ("background",) * half

    @property
    def contribution_weights(self) -> tuple[Tensor, Tensor]:
        """Weight ``(classes, K)`` and bias ``(classes,)``."""
        return self.head.contribution_weights

    def distances(self, features: Tensor) -> Tensor:
        """Squared distances ``(N, K, h, w)``, in the head's units."""
        return self.head.distances(features)

    def similarities(self, distances: Tensor) -> Tensor:
        """``log((d + 1) / (d + ε))``."""
        return self.head.similarities(distances)

    def set_prototypes(self, prototypes: Tensor) -> None:
        """Replace all prototypes by ``(K, D)`` features."""
        with torch.no_grad():
            self.head.vectors.copy_(prototypes)

    def grown(self, cells: Tensor, background: Tensor) -> Self:
        """See ``CanGrow.grown``."""
        if cells.shape != background.shape:
            raise ValueError(f"{len(cells)} cell and {len(background)} background prototypes")
        half, state = len(self.head.vectors) // 2, self.state_dict()
        vectors, weight = state["head.vectors"], state["head.weight"]
        nothing = weight.new_zeros(len(weight), len(cells))
        state["head.vectors"] = torch.cat([vectors[:half], cells, vectors[half:], background])
        state["head.weight"] = torch.cat(
            [weight[:, :half], nothing, weight[:, half:], nothing], dim=1
        )
        numbers = {f.name: getattr(self.config, f.name) for f in fields(self.config_type)}
        numbers["prototypes"] = len(vectors) + 2 * len(cells)
        other = type(self)(self.config_type(**numbers))
        other.load_state_dict(state)
        return other.to(vectors.device).train(self.training)

    def set_contribution_weights(self, weight: Tensor, bias: Tensor) -> None:
        """Replace weight ``(classes, K)`` and bias ``(classes,)``."""
        with torch.no_grad():
            self.head.weight.copy_(weight / self.head.gain)
            self.head.bias.copy_(bias / self.head.gain)
