"""Our network: the ideas of the four published systems in one small one.

A multi-scale encoder–decoder (the feature pyramid of Hernández et al. 2018),
global context (DCL, MICCAI 2024) from a thumbnail of the whole image, prototype
similarities as the only way to the density (CountXplain, MIDL 2025), and a
log-variance for every density cell (Hernández et al. 2018) on detached features,
so that it cannot spoil the mean. ``tally_plain`` is the same with a plain head:
what the prototypes are measured against.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from celltally.networks.base import HasVariance, Output, Supervision
from celltally.networks.layers import (
    ChannelNorm,
    Downsample,
    ResidualBlock,
    UnitNorm,
    variance_head,
    zero,
)
from celltally.networks.prototypes import HasPrototypeHead, PrototypeHead
from celltally.networks.registry import register

__all__ = ["Tally", "TallyConfig", "TallyPlain", "TallyPlainConfig"]

#: Density rows that a head works on at once where nothing is learned.
STRIP = 64


@dataclass(frozen=True)
class TallyPlainConfig:
    """The numbers of a network with a plain head.

    Attributes
    ----------
    widths
        Channels at 1/2, 1/4, 1/8, … of model scale.
    encoder_blocks, decoder_blocks
        Residual blocks per level; the deepest level has no decoder.
    depth
        Channels of the features that the head is given.
    gain
        Height of a typical density peak.
    context
        Size of the global context vector; 0 for none.
    classes
        Number of density maps.
    """

    widths: tuple[int, ...] = (32, 64, 96, 128)
    encoder_blocks: tuple[int, ...] = (1, 2, 2, 2)
    decoder_blocks: tuple[int, ...] = (0, 1, 1)
    depth: int = 32
    gain: float = 0.1
    context: int = 16
    classes: int = 1

    def __post_init__(self) -> None:
        if not self.gain > 0:
            raise ValueError(f"a gain of {self.gain} leaves no density")


@dataclass(frozen=True)
class TallyConfig(TallyPlainConfig):
    """The numbers of the network: those of the plain one, and its prototypes'.

    Attributes
    ----------
    prototypes
        Number of prototypes, half of them cell and half background.
    epsilon
        ε of the similarity.
    """

    prototypes: int = 32
    epsilon: float = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.epsilon < 1:
            raise ValueError(f"an epsilon of {self.epsilon} is not between 0 and 1")


class _Trunk(HasVariance):
    """Features with global context, which the two families put their heads on."""

    supervision: ClassVar[frozenset[Supervision]] = frozenset({"dots", "counts"})
    stride = 2
    head: nn.Module
    variance: nn.Sequential

    def __init__(self, config: TallyPlainConfig) -> None:
        super().__init__()
        self.config = config
        widths, levels = config.widths, len(config.widths)
        self.multiple = 2**levels
        self.stem = nn.Conv2d(3, widths[0], 4, stride=2, padding=1)
        self.encoder = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(w) for _ in range(n)))
            for w, n in zip(widths, config.encoder_blocks, strict=True)
        )
        self.down = nn.ModuleList(Downsample(a, b) for a, b in pairwise(widths))
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(w) for _ in range(n)))
            for w, n in zip(widths[:-1], config.decoder_blocks, strict=True)
        )
        self.halo = _reach(config)
        self.context_encoder = _context_encoder(config.context) if config.context else None
        self.modulate = (
            nn.ModuleList(zero(nn.Linear(config.context, 2 * w)) for w in widths)
            if config.context
            else None
        )
        self.project = nn.Sequential(
            ChannelNorm(widths[0]),
            nn.Conv2d(widths[0], config.depth, 1),
            UnitNorm(),
        )

    def encode_context(self, thumbnails: Tensor) -> Tensor | None:
        """``(N, 3, 64, 64)`` → ``(N, context)``."""
        if self.context_encoder is None:
            return None
        context: Tensor = self.context_encoder(thumbnails)
        return context

    def features(self, images: Tensor, context: Tensor | None = None) -> Tensor:
        """``(N, 3, H, W)`` → ``(N, depth, H/2, W/2)`` float32 of norm √depth."""
        features: Tensor = self.project(self._trunk(images, context))
        return features

    def forward(self, images: Tensor, context: Tensor | None = None) -> Output:
        """See ``CountingNetwork.forward``."""
        trunk = self._trunk(images, context)
        if torch.is_grad_enabled():
            return self._output(trunk)
        # Strips stay in the processor's cache; whole maps of so many channels do not.
        strips = (self._output(rows) for rows in torch.split(trunk, STRIP, dim=2))
        density, log_variance, distances = zip(*strips, strict=True)
        return Output(
            density=torch.cat(density, dim=2),
            log_variance=torch.cat(log_variance, dim=2),
            distances=None if distances[0] is None else torch.cat(distances, dim=2),
        )

    def _trunk(self, images: Tensor, context: Tensor | None) -> Tensor:
        """``(N, 3, H, W)`` → ``(N, widths[0], H/2, W/2)``, before the projection."""
        x: Tensor = self.stem(images)
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.encoder):
            x = self.down[level - 1](x) if level else x
            x = blocks(self._modulated(x, context, level))
            skips.append(x)
        x = skips.pop()
        for level in reversed(range(len(self.decoder))):
            # In the default config no block follows at the finest level to smooth squares away.
            mode = "nearest" if level else "bilinear"
            x = functional.interpolate(self.up[level](x), scale_factor=2.0, mode=mode)
            x = self.decoder[level](x.add_(skips.pop()))
        return x

    def _output(self, trunk: Tensor) -> Output:
        """Head and variance, which look at one place at a time."""
        features = self.project(trunk)
        # Similarities and sums lose a cell in a thousand below float32.
        with torch.autocast(features.device.type, enabled=False):
            density, distances = self._density(features)
            known = torch.cat([features.detach(), density.detach()], dim=1)
            return Output(
                density=density,
                log_variance=self.variance(known).clamp(-16.0, 6.0),
                distances=distances if self.training else None,
            )

    def _modulated(self, x: Tensor, context: Tensor | None, level: int) -> Tensor:
        """Scale and shift channels by the global context (FiLM, Perez et al. 2018, eq. 2)."""
        if context is None or self.modulate is None:
            return x
        film: Tensor = self.modulate[level](context)
        scale, shift = film[:, :, None, None].chunk(2, dim=1)
        kept = None if torch.is_grad_enabled() else x
        return torch.addcmul(shift, x, 1.0 + scale, out=kept)

    def variance_parameters(self) -> list[nn.Parameter]:
        """Parameters of the log-variance head."""
        return list(self.variance.parameters())

    @abstractmethod
    def _density(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Density of features, and their distances to prototypes where there are some."""


@register("tally")
class Tally(_Trunk, HasPrototypeHead):
    """See the module's text and ``TallyConfig``."""

    config_type: ClassVar[type] = TallyConfig
    head: PrototypeHead

    def __init__(self, config: TallyConfig) -> None:
        super().__init__(config)
        self.head = PrototypeHead(
            config.depth,
            config.prototypes,
            classes=config.classes,
            epsilon=config.epsilon,
            gain=config.gain,
        )
        # After the head: seeds keep their weights.
        self.variance = variance_head(config.depth + config.classes, config.classes)

    def _density(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        distances = self.distances(features)
        return self.head.density(self.similarities(distances)), distances


@register("tally_plain")
class TallyPlain(_Trunk):
    """`tally` with a 1×1 convolution for a head; nothing explains its density."""

    config_type: ClassVar[type] = TallyPlainConfig
    head: nn.Conv2d

    def __init__(self, config: TallyPlainConfig) -> None:
        super().__init__(config)
        self.head = nn.Conv2d(config.depth, config.classes, 1)
        self.variance = variance_head(config.depth + config.classes, config.classes)

    def _density(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        density: Tensor = self.head(features) * self.config.gain
        return density, None


def _context_encoder(size: int) -> nn.Sequential:
    """Three strided convolutions and a mean: what kind of image this is."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 4, stride=4),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, size),
        nn.Tanh(),
    )


def _reach(config: TallyPlainConfig) -> int:
    """Model-scale pixels that a density cell can depend on, rounded up to a multiple."""
    reach = 2  # the stem
    levels = len(config.widths)
    for level in range(levels):
        cell = 2 ** (level + 1)
        blocks = config.encoder_blocks[level]
        if level < levels - 1:
            blocks += config.decoder_blocks[level]
        reach += cell * blocks * ResidualBlock.reach
        reach += cell if level else 0  # a cell of this level spans `cell` pixels
        reach += cell if level == 1 else 0  # and is mixed with its neighbours
    multiple: int = 2**levels
    return -(-reach // multiple) * multiple
