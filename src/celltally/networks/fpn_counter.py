"""A mask from a feature pyramid, and the count from the mask.

Hernández, Sultan & Pande 2018, "Using Deep Learning for Segmentation and Counting within
Microscopy Data" (arXiv 1802.10548). A *feature pyramid* learns from masks where the cells
are, at four scales, and how sure it is of that; then a *counter*, a VGG-11 that is shown
the largest mask and nothing else, learns from counts alone, and with the count the
variance that it must expect. Both take whole images of one size.

The density is for display: the count, spread over the mask. The variance is the count's,
spread alike, so that the variances of the cells add up to it.

What is ours, where the paper is silent or this program asks for more:

- Masks come as the mean head gives them; the authors' code ends it with a ReLU, which
  cannot learn any more once it is dead. The density takes what is below zero for zero.
- Log-variances are held within limits, so that no place can have all the say.
- The log-variance heads start at zero, that is with the loss of the mean alone. The count's
  heads speak in units of 10 cells and start at one unit for every image: a head that gives
  cells themselves takes thousands of steps to their number, and what is below zero meanwhile
  learns nothing behind its ReLU (fields of 150 cells and more were counted as 0 for good).
- The deepest level of the pyramid has a cross-link as well; the authors' code repeats its
  only channel instead.

The authors' public code (github.com/cxhernandez/cellcount) has another loss and a simpler
pyramid (see ``FPNCounterConfig``), puts a ReLU behind the count's log-variance as well,
where the paper has none, and adds up the mask's three colours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from celltally.networks.base import HasStages, Output, Stage, Supervision, Target
from celltally.networks.layers import scaled, zero
from celltally.networks.registry import register

__all__ = ["FPNCounter", "FPNCounterConfig", "aleatoric_loss"]

#: Limits of the log-variance of a mask's place and of a count. What is below the lower one
#: the authors' code sets to zero; the upper one of a count is a deviation of 3,000 cells.
MASK_LIMITS, COUNT_LIMITS = (-6.0, 6.0), (-6.0, 16.0)
#: Cells that are one for the count's heads.
UNIT = 10.0
#: What a mask has everywhere, so that a count without a mask is spread evenly.
EMPTY = 1e-6

#: Forms of the aleatoric loss: error, log-variance → loss, elementwise.
FORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "paper": lambda error, s: error.abs() / 2 * (-s / 2).exp() + s,
    "code": lambda error, s: error.abs() / 2 * (-s).exp() + s,
    "gaussian": lambda error, s: (error.square() * (-s).exp() + s) / 2,
}

#: Whole images, as the paper has it: a crop would show cells at another size than the
#: counter will see them. The paper's share of the steps is a seventh, of far more steps.
MASK = Stage("mask", share=0.25, supervision="masks", whole=True, judged=False)
COUNTER = Stage("counter", share=0.75, supervision="counts", whole=True)


@dataclass(frozen=True)
class FPNCounterConfig:
    """The numbers of both networks; the defaults are the paper's.

    Attributes
    ----------
    width
        Factor on the channels of all layers, for small networks.
    image_height, image_width
        Pixels that every image is resized to (§4).
    down_filters
        Filters of the 3×3 convolution in front of each halving, one per level of the
        pyramid; 0 for none. The paper convolves at each of 4 levels and does not say with
        how many filters (§3.1): here as many as it has in the cross-links. ``(1, 0, 0, 0)``
        in the authors' code.
    cross_filters
        Filters of the 3×3 cross-links.
    head_filters
        Filters of the 3×3 convolutions of a head, before its last one with one filter.
    vgg
        Filters of the counter's 3×3 convolutions; 0 for a 2×2 max-pooling. The default is
        the VGG-11, whose three other layers are fully connected.
    hidden
        Widths of the fully connected layers of a head, before its last one with width 1.
    aleatoric
        Form of the aleatoric loss, see ``aleatoric_loss``: ``paper``, ``code`` (the
        authors') or ``gaussian``.
    total_variation
        Weight of the total-variation loss. The paper names none; in the authors' code it
        is 1e-6 of the sum over a batch, and the paper's batches have two images.
    """

    width: float = 1.0
    image_height: int = 192
    image_width: int = 256
    down_filters: tuple[int, ...] = (128, 128, 128, 128)
    cross_filters: int = 128
    head_filters: tuple[int, ...] = (256, 256)
    vgg: tuple[int, ...] = (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0)
    hidden: tuple[int, ...] = (1024, 512)
    aleatoric: str = "paper"
    total_variation: float = 2e-6


def aleatoric_loss(error: Tensor, log_variance: Tensor, form: str = "paper") -> Tensor:
    """Mean loss of errors that the network has foretold the size of, a scalar.

    With e the error, s the log-variance and σ² = exp(s):

    - ``paper``: |e| / 2σ + s (eq. 1, which writes ‖e‖₂ / 2σ + log σ²; the norm is of one
      number). At its minimum σ is a quarter of the mean absolute error, and of a normal
      distribution 1.25 times as much: σ tells which counts are less sure, not by how much.
    - ``code``: |e| / 2σ² + s, as in the authors' code, which gives σ² the same place.
    - ``gaussian``: e² / 2σ² + s / 2 (Kendall & Gal 2017, eq. 8, which the paper builds
      upon), the negative log-likelihood but for a constant; σ² is the mean square
      error at its minimum.
    """
    return FORMS[form](error, log_variance).mean()


class Pyramid(nn.Module):
    """Feature pyramid with a mean and a log-variance head at every scale (§3.1, fig. 1)."""

    def __init__(self, config: FPNCounterConfig) -> None:
        super().__init__()
        channels, down, across = 3, [], []
        for filters in config.down_filters:
            down.append(_convolution(channels, filters) if filters else nn.Identity())
            channels = filters or channels
            across.append(_convolution(channels, config.cross_filters))
        self.down, self.across = nn.ModuleList(down), nn.ModuleList(across)
        self.mean = nn.ModuleList(_mask_head(config) for _ in across)
        self.log_variance = nn.ModuleList(_mask_head(config) for _ in across)
        for head in self.log_variance:
            zero(head[-1])  # type: ignore[index]

    def features(self, images: Tensor) -> list[Tensor]:
        """``(N, 3, H, W)`` → features at 1/2, 1/4, … of their height and width."""
        x, halved = images, []
        for convolution in self.down:
            x = functional.avg_pool2d(convolution(x), 2)
            halved.append(x)
        features: list[Tensor] = []
        for level, across in zip(reversed(halved), reversed(self.across), strict=True):
            x = across(level)
            if features:
                x = x + functional.interpolate(features[0], x.shape[2:], mode="bilinear")
            features.insert(0, x)
        return features

    def mask(self, images: Tensor) -> Tensor:
        """Mean of the largest mask, ``(N, 1, H/2, W/2)`` float32; of any sign."""
        mask: Tensor = self.mean[0](self.features(images)[0])
        return mask.float()

    def forward(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Mean and log-variance of the masks, float32, the largest first."""
        return [
            (mean(x).float(), log_variance(x).float().clamp(*MASK_LIMITS))
            for x, mean, log_variance in zip(
                self.features(images), self.mean, self.log_variance, strict=True
            )
        ]


class Counter(nn.Module):
    """VGG-11 with a head for the count and one for its log-variance (§3.2, fig. 2)."""

    def __init__(self, config: FPNCounterConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for filters in config.vgg:
            layers.append(_convolution(channels, filters) if filters else nn.MaxPool2d(2))
            channels = filters or channels
        self.vgg = nn.Sequential(*layers)
        halvings = 1 + config.vgg.count(0)
        cells = (config.image_height >> halvings) * (config.image_width >> halvings)
        self.count = _count_head(channels * cells, config.hidden)
        nn.init.ones_(zero(self.count[-1]).bias)  # type: ignore[arg-type]
        self.log_variance = _count_head(channels * cells, config.hidden)
        zero(self.log_variance[-1])  # type: ignore[arg-type]

    def forward(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """``(N, 1, H/2, W/2)`` mask → count ≥ 0 and its log-variance, ``(N, 1)`` float32."""
        features = self.vgg(mask).flatten(1)
        with torch.autocast(mask.device.type, enabled=False):
            features = features.float()
            count = UNIT * functional.relu(self.count(features))
            log_variance: Tensor = self.log_variance(features) + 2 * math.log(UNIT)
            return count, log_variance.clamp(*COUNT_LIMITS)


@register("fpn_counter")
class FPNCounter(HasStages):
    """See the module's text and ``FPNCounterConfig``."""

    config_type: ClassVar[type] = FPNCounterConfig
    supervision: ClassVar[frozenset[Supervision]] = frozenset({"dots", "counts", "masks"})
    stride = 4
    multiple = 4
    halo = None
    #: 24 measured, at 2048² and at 4096² (float32, a CPU): copies of the image, for what is
    #: learned of it has one size.
    bytes_per_pixel = 30

    def __init__(self, config: FPNCounterConfig) -> None:
        super().__init__()
        if config.aleatoric not in FORMS:
            raise ValueError(
                f"there is no aleatoric loss {config.aleatoric!r}; choose one of: "
                f"{', '.join(FORMS)}"
            )
        halvings = max(len(config.down_filters), 1 + config.vgg.count(0))
        if min(config.image_height, config.image_width) < 2**halvings:
            raise ValueError(
                f"image_height and image_width must be {2**halvings} px or more to be halved"
            )
        self.config = config
        self.pyramid = Pyramid(_scaled(config))
        self.counter = Counter(_scaled(config))

    def forward(self, images: Tensor, context: Tensor | None = None) -> Output:
        """Count × mask / Σ mask of whole images of any height and width.

        See ``CountingNetwork.forward``; the maps are ``(N, 1, ⌈H/4⌉, ⌈W/4⌉)``. The density
        is not negative; the variances of an image add up to the variance of its count.
        """
        mask = self.pyramid.mask(self._resized(images))
        count, log_variance = (x[:, :, None, None] for x in self.counter(mask))
        shape = [-(-side // self.stride) for side in images.shape[2:]]
        with torch.autocast(images.device.type, enabled=False):
            share = EMPTY + functional.interpolate(
                mask.clamp_min(0.0), shape, mode="bilinear", antialias=True
            )
            share = share / share.sum(dim=(2, 3), keepdim=True)
            return Output(count * share, log_variance + share.log())

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Mask, then counter."""
        return MASK, COUNTER

    def stage_parameters(self, stage: Stage) -> list[nn.Parameter]:
        """All of the pyramid's, or all of the counter's."""
        part = self.pyramid if stage.name == MASK.name else self.counter
        return list(part.parameters())

    def stage_loss(
        self, stage: Stage, images: Tensor, context: Tensor | None, target: Target
    ) -> Tensor:
        """Aleatoric and total-variation loss of the masks, or aleatoric loss of the count.

        Those of the masks are added up over the scales (§3.1).
        """
        resized = self._resized(images, target.inside)
        if stage.name == COUNTER.name:
            with torch.no_grad():
                mask = self.pyramid.mask(resized)
            count, log_variance = self.counter(mask)
            error = count[:, 0] - target.counts
            return aleatoric_loss(error, log_variance[:, 0], self.config.aleatoric)
        if target.mask is None:
            raise ValueError(f"the stage {stage.name!r} needs masks")
        truth = self._resized(target.mask, target.inside)
        total = images.new_zeros(())
        for mean, log_variance in self.pyramid(resized):
            error = mean - functional.adaptive_avg_pool2d(truth, mean.shape[2:])
            total = total + aleatoric_loss(error, log_variance, self.config.aleatoric)
            total = total + self.config.total_variation * _total_variation(mean)
        return total

    def _resized(self, images: Tensor, inside: Tensor | None = None) -> Tensor:
        """Resize ``(N, C, H, W)`` to the config's size, float32, without what is not inside."""
        shape = (self.config.image_height, self.config.image_width)
        # The last density cells may reach beyond the image, and the mask is spread over all.
        below, beside = (-side % self.stride for side in images.shape[2:])
        images = functional.pad(images.float(), (0, beside, 0, below))
        pieces = [images]
        if inside is not None:
            pieces = [self._cut(*pair) for pair in zip(images, inside, strict=True)]
        return torch.cat(
            [functional.interpolate(x, shape, mode="bilinear", antialias=True) for x in pieces]
        )

    def _cut(self, image: Tensor, inside: Tensor) -> Tensor:
        """``(1, C, h, w)``: what of a ``(C, H, W)`` image is inside, as predictions see it."""
        rows, columns = (
            slice(self.stride * int(i.min()), self.stride * int(i.max() + 1))
            for i in inside[0].nonzero(as_tuple=True)
        )
        return image[None, :, rows, columns]


def _scaled(config: FPNCounterConfig) -> FPNCounterConfig:
    """Put the width into the numbers of channels."""

    def widths(channels: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(scaled(n, config.width) if n else 0 for n in channels)

    return replace(
        config,
        down_filters=widths(config.down_filters),
        cross_filters=scaled(config.cross_filters, config.width),
        head_filters=widths(config.head_filters),
        vgg=widths(config.vgg),
        hidden=widths(config.hidden),
    )


def _convolution(channels: int, filters: int) -> nn.Sequential:
    """3×3 convolution, batch norm, leaky ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, filters, 3, padding=1, bias=False),
        nn.BatchNorm2d(filters),
        nn.LeakyReLU(inplace=True),
    )


def _mask_head(config: FPNCounterConfig) -> nn.Sequential:
    """3×3 convolutions, the last with one filter and neither norm nor activation."""
    widths = (config.cross_filters, *config.head_filters)
    return nn.Sequential(
        *(_convolution(a, b) for a, b in pairwise(widths)),
        nn.Conv2d(widths[-1], 1, 3, padding=1),
    )


def _count_head(channels: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """Fully connected layers with batch norm and leaky ReLU between them; the last has width 1."""
    layers: list[nn.Module] = []
    for a, b in pairwise((channels, *hidden)):
        layers += [nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.LeakyReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear((channels, *hidden)[-1], 1))


def _total_variation(mask: Tensor) -> Tensor:
    """Squared differences of neighbours in ``(N, 1, h, w)``, their mean sum per image."""
    total = mask.diff(dim=2).square().sum() + mask.diff(dim=3).square().sum()
    return total / len(mask)
