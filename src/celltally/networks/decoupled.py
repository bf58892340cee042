"""Decoupled learning: one network counts, another says where.

DCL ("Rethinking Cell Counting Methods: Decoupling Counting and Localization", Zheng et
al., MICCAI 2024, arXiv 2503.13989). The *counter* learns from counts alone: features of a
VGG-19, global message passing, and a coarse map whose L1 norm is the count. The
*localiser* learns from dots: a U-Net that is shown the image and the coarse map and draws
the density. The count of an image is the counter's; the localiser only spreads it.

What is ours:

- The localiser's map is scaled so that its sum is the counter's count. Where it has found
  less than half of that count, the rest stays where the coarse map has it, so that an
  untrained localiser shows the coarse map.
- The U-Net has no full-resolution step on its way up, so that a density cell has 2×2
  pixels: images go through in one piece, and the finest level fills the memory.
- The shift of a message is measured in cells of the feature map, so that it means the same
  in a crop and in a whole image; one that leads out of the image ends at its border.
- A log-variance for every density cell, on detached features.

The authors' public repository (github.com/MedAITech/DCL) holds neither the message passing
nor the localiser; its VGG-19 counter has batch norm, and 3×3 convolutions of 256 and 128
channels in front of the last one. ``DecoupledConfig`` can say so; its defaults are the
paper's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from celltally.networks.backbones import ImageNetColours, imagenet_weights
from celltally.networks.base import HasStages, HasVariance, Output, Stage, Supervision, Target
from celltally.networks.layers import scaled, variance_head, zero
from celltally.networks.registry import register

__all__ = ["Decoupled", "DecoupledConfig"]

#: Channels and number of 3×3 convolutions of each level of a VGG-19 (Simonyan & Zisserman
#: 2015, table 1, column E).
VGG19 = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
#: Channels of each level of a U-Net (Ronneberger et al. 2015, fig. 1).
UNET = (64, 128, 256, 512, 1024)
#: Model-scale pixels per cell of the coarse map: 16 after four pools, and doubled.
COARSE = 8
#: A localiser's map is made larger by at most this: where it finds nothing, its noise
#: must not become cells.
LARGEST_SCALE = 2.0

#: Width up to which the learning rate is that of `tally`. Beyond, it goes with 1 / width, as
#: Adam's has to (Yang et al. 2021): a layer without norms adds up steps of as many weights as
#: it has inputs. (From nothing on drawn cells, at width 1, the counter's error rose from 10 to
#: 102 cells again within ten steps at a rate of 1.5e-3, and only fell at a fifth of that.)
NARROW = 0.25

COUNTER = Stage("counter", share=0.6, supervision="counts")
#: Not judged, for the count is the counter's whatever the localiser does.
LOCALISER = Stage("localiser", share=0.4, supervision="dots", judged=False, optional=True)


@dataclass(frozen=True)
class DecoupledConfig:
    """The numbers of both networks; the defaults are the paper's.

    Attributes
    ----------
    width
        Factor on the channels of all layers, for small networks.
    message_passing
        Whether the counter has the message passing; the authors' code has none.
    batch_norm
        Whether the counter's VGG-19 has batch norm, as in the authors' code.
    head_widths
        Channels of 3×3 convolutions in front of the counter's last one, each with ReLU;
        ``(256, 128)`` in the authors' code.
    pretrained
        Whether the VGG-19 starts from ImageNet weights, which torchvision fetches. A built
        network's config says False: it can be built again without them.
    """

    width: float = 1.0
    message_passing: bool = True
    batch_norm: bool = False
    head_widths: tuple[int, ...] = ()
    pretrained: bool = False


class MessagePassing(nn.Module):
    """Every place averages its features with those of one other place, which it chooses.

    ``y_p = (x_p + x_q) / 2`` with ``q = p + (u(x_p), v(x_p))``, where u and v are 1×1
    convolutions and ``x_q`` is interpolated bilinearly (DCL, global message passing).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        # At zero, as the shifts of deformable convolutions start (Dai et al. 2017).
        self.shift = zero(nn.Conv2d(channels, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, h, w)`` → the same shape, float32."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            height, width = x.shape[2:]
            u, v = self.shift(x).unbind(dim=1)
            columns = torch.arange(width, device=x.device) + u
            rows = torch.arange(height, device=x.device)[:, None] + v
            # Cells' centres in a frame in which the map reaches from −1 to 1.
            where = torch.stack([(2 * columns + 1) / width, (2 * rows + 1) / height], dim=-1) - 1
            message = functional.grid_sample(
                x, where, mode="bilinear", padding_mode="border", align_corners=False
            )
            return 0.5 * (x + message)


class Counter(nn.Module):
    """Coarse map of an image: what of the count lies in each 8×8 pixels.

    VGG-19 without its last pool → ×2 bilinear → message passing → 1×1 convolution; the
    count is the L1 norm of its result z, so the map is ``|z|``.
    """

    def __init__(self, config: DecoupledConfig) -> None:
        super().__init__()
        self.colours = ImageNetColours()
        self.backbone = _vgg19(config)
        channels = scaled(VGG19[-1][0], config.width)
        self.messages = MessagePassing(channels) if config.message_passing else nn.Identity()
        hidden = [scaled(width, config.width) for width in config.head_widths]
        self.hidden = nn.Sequential(
            *(_convolutions(a, b, 1) for a, b in pairwise([channels, *hidden]))
        )
        self.last = nn.Conv2d([channels, *hidden][-1], 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """``(N, 3, H, W)`` → ``(N, 1, ⌈H/8⌉, ⌈W/8⌉)`` float32, ≥ 0; its sum is the count."""
        x = self.backbone(self.colours(_padded(images)))
        x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        # Nothing is counted, and no message sent, in what was only padded.
        x = _cut(x, images, COARSE)
        x = self.hidden(self.messages(x))
        with torch.autocast(x.device.type, enabled=False):
            coarse: Tensor = self.last(x.float()).abs()
            return coarse


class Localiser(nn.Module):
    """A U-Net (Ronneberger et al. 2015) over image and coarse map, less its last step up."""

    def __init__(self, config: DecoupledConfig) -> None:
        super().__init__()
        widths = [scaled(width, config.width) for width in UNET]
        self.depth = widths[1]
        self.encoder = nn.ModuleList(_convolutions(a, b, 2) for a, b in pairwise([4, *widths]))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in pairwise(widths[1:])
        )
        self.decoder = nn.ModuleList(_convolutions(2 * a, a, 2) for a in widths[1:-1])
        # At zero, so that before it learns the density is the coarse map.
        self.last = zero(nn.Conv2d(self.depth, 1, 1))

    def forward(self, images: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Map and features, ``(N, 1 and depth, ⌈H/2⌉, ⌈W/2⌉)``; the map float32, of any sign.

        Parameters
        ----------
        images
            ``(N, 3, H, W)``.
        coarse
            ``(N, 1, ⌈H/8⌉, ⌈W/8⌉)``, the counter's.
        """
        hint = functional.interpolate(
            coarse, scale_factor=float(COARSE), mode="bilinear", align_corners=False
        )
        x = torch.cat([_padded(images), _padded(hint)], dim=1)
        x = self.encoder[0](x)
        skips: list[Tensor] = []
        for level in range(1, len(self.encoder)):
            x = self.encoder[level](functional.max_pool2d(x, 2))
            skips.append(x)
        x = skips.pop()
        for level in reversed(range(len(self.decoder))):
            x = torch.cat([skips.pop(), self.up[level](x)], dim=1)
            x = self.decoder[level](x)
        features = _cut(x, images, Decoupled.stride)
        with torch.autocast(x.device.type, enabled=False):
            return self.last(features.float()), features


@register("decoupled")
class Decoupled(HasVariance, HasStages):
    """See the module's text and ``DecoupledConfig``."""

    config_type: ClassVar[type] = DecoupledConfig
    supervision: ClassVar[frozenset[Supervision]] = frozenset({"dots", "counts"})
    stride = 2
    multiple = 16
    #: A message may come from anywhere.
    halo = None

    def __init__(self, config: DecoupledConfig) -> None:
        super().__init__()
        self.config = replace(config, pretrained=False)
        self.counter = Counter(config)
        self.localiser = Localiser(config)
        self.variance = variance_head(self.localiser.depth + 1)
        # At 1024², 672 were measured with a width of 1 and 229 with 0.25 (float32, a CPU).
        self.bytes_per_pixel = round(100 + 600 * config.width)

    def forward(self, images: Tensor, context: Tensor | None = None) -> Output:
        """See ``CountingNetwork.forward``; images may have any height and width."""
        coarse = self.counter(images)
        found, features = self.localiser(images, coarse)
        with torch.autocast(images.device.type, enabled=False):
            density = _spread(coarse, found)
            known = torch.cat([features.detach().float(), density.detach()], dim=1)
            return Output(density, self.variance(known).clamp(-16.0, 6.0))

    def variance_parameters(self) -> list[nn.Parameter]:
        """Parameters of the log-variance head."""
        return list(self.variance.parameters())

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Counter, then localiser; the wider, the slower."""
        rate = min(1.0, NARROW / self.config.width)
        return replace(COUNTER, rate=rate), replace(LOCALISER, rate=rate)

    def stage_parameters(self, stage: Stage) -> list[nn.Parameter]:
        """All of the counter's, or all of the localiser's."""
        part = self.counter if stage.name == COUNTER.name else self.localiser
        return list(part.parameters())

    def stage_loss(
        self, stage: Stage, images: Tensor, context: Tensor | None, target: Target
    ) -> Tensor:
        """Absolute error of the count, or mean squared error of the localiser's map.

        Both as they are, before the map is scaled to the count.
        """
        if stage.name == COUNTER.name:
            coarse: Tensor = self.counter(images)
            if target.inside is not None:
                ratio = COARSE // self.stride
                # A cell that lies half in the image counts, as it does in predictions.
                coarse = coarse * functional.max_pool2d(target.inside, ratio, ceil_mode=True)
            return (coarse.sum(dim=(1, 2, 3)) - target.counts).abs().mean()
        if target.density is None:
            raise ValueError(f"the stage {stage.name!r} needs a density")
        with torch.no_grad():
            coarse = self.counter(images)
        found, _ = self.localiser(images, coarse)
        return functional.mse_loss(found, target.density)


def _spread(coarse: Tensor, found: Tensor) -> Tensor:
    """Density with the sum of the coarse map, where the localiser found something.

    Parameters
    ----------
    coarse
        ``(N, 1, ⌈h/4⌉, ⌈w/4⌉)``, ≥ 0.
    found
        ``(N, 1, h, w)``, the localiser's map; what is negative there counts as nothing.

    Returns
    -------
    Tensor
        ``(N, 1, h, w)``, ≥ 0.
    """
    ratio = COARSE // Decoupled.stride
    height, width = found.shape[2:]
    covered = functional.avg_pool2d(
        found.new_ones(1, 1, height, width), ratio, ceil_mode=True, divisor_override=1
    )
    even = functional.interpolate(coarse / covered, scale_factor=float(ratio), mode="nearest")
    even = even[..., :height, :width]
    found = found.clamp_min(0.0)
    count, seen = (m.sum(dim=(1, 2, 3), keepdim=True) for m in (coarse, found))
    scale = (count / seen.clamp_min(1e-6)).clamp_max(LARGEST_SCALE)
    missing = (count - scale * seen).clamp_min(0.0)
    density: Tensor = scale * found + missing / count.clamp_min(1e-6) * even
    return density


def _padded(x: Tensor) -> Tensor:
    """Zeros at the bottom and right of ``(N, C, H, W)``, up to the next multiple."""
    height, width = x.shape[2:]
    return functional.pad(x, (0, -width % Decoupled.multiple, 0, -height % Decoupled.multiple))


def _cut(x: Tensor, images: Tensor, cell: int) -> Tensor:
    """Cut off a map of ``cell`` pixels to a cell what lies in the padding alone."""
    height, width = (-(-side // cell) for side in images.shape[2:])
    return x[..., :height, :width]


def _convolutions(
    channels: int, out_channels: int, number: int, norm: bool = False
) -> nn.Sequential:
    """3×3 convolutions, each with ReLU."""
    layers: list[nn.Module] = []
    for _ in range(number):
        convolution = nn.Conv2d(channels, out_channels, 3, padding=1)
        # Without norms, signals must neither grow nor fade on their way (He et al. 2015).
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        layers.append(convolution)
        if norm:
            layers.append(nn.BatchNorm2d(out_channels))
        layers.append(nn.ReLU(inplace=True))
        channels = out_channels
    return nn.Sequential(*layers)


def _vgg19(config: DecoupledConfig) -> nn.Sequential:
    """Convolutions of a VGG-19 without the last pool, numbered as torchvision does."""
    layers: list[nn.Module] = []
    channels = 3
    for level, (width, number) in enumerate(VGG19):
        if level:
            layers.append(nn.MaxPool2d(2))
        out_channels = scaled(width, config.width)
        layers.extend(_convolutions(channels, out_channels, number, config.batch_norm))
        channels = out_channels
    backbone = nn.Sequential(*layers)
    if config.pretrained:
        if config.width != 1:
            raise ValueError(f"pretrained weights have the width 1, not {config.width:g}")
        name = "vgg19_bn" if config.batch_norm else "vgg19"
        backbone.load_state_dict(imagenet_weights(name, "features."))
    return backbone
