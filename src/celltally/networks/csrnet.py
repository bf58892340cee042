"""CSRNet (Li, Zhang & Chen, CVPR 2018): the network that CountXplain explains.

The first ten convolutions of VGG-16 and six dilated ones, in the configuration with
dilation 2 throughout (the paper's B), and a 1×1 convolution to a density at 1/8. Images
are normalised with the mean and deviation of ImageNet first, as in the authors' code and
in CountXplain's.

Where the two differ or training is another here:

- The paper's loss is half the squared error summed over an image, CountXplain's code takes
  the mean. Here it is the mean times ``density_weight``. Batches have about as many density
  cells each, so that these differ by a factor, which the optimiser undoes.
- The paper starts from ImageNet weights. They are to be had with ``pretrained``, but nothing
  needs them: without them the front end starts as torchvision's VGG does (He et al. 2015).
- The variance head is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from celltally.networks.backbones import ImageNetColours, imagenet_weights
from celltally.networks.base import HasStages, HasVariance, Output, Stage, Supervision, Target
from celltally.networks.layers import scaled, variance_head
from celltally.networks.registry import register

__all__ = ["RATE", "CSRNet", "CSRNetConfig", "CSRNetLayers", "start_small", "true_density"]

#: Channels of VGG-16's convolutions, in blocks with a max pool between them.
FRONT = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))
#: Channels of the dilated convolutions.
BACK = (512, 512, 512, 256, 128, 64)
#: Deviation of the weights that the back end and the head start from (paper, training details).
START = 0.01
#: Learning rate against that of `tally`, whose layers are narrow and have norms. (From
#: nothing on drawn cells, the error of the first ten steps was 2,000 times that of zero
#: density at a rate of 1.5e-3, three times at 3e-4.)
RATE = 0.2


@dataclass(frozen=True)
class CSRNetConfig:
    """The numbers of the network.

    Attributes
    ----------
    width
        Factor on all numbers of channels; 1 for the paper's.
    density_weight
        Weight of the mean squared error of the density (CountXplain: 100).
    pretrained
        Whether a new network's front end starts from ImageNet weights, which are then
        fetched. A network's own config always says no: it is built again from its weights.
    """

    width: float = 1.0
    density_weight: float = 100.0
    pretrained: bool = False


class CSRNetLayers(nn.Module):
    """Everything before the head: ``(N, 3, H, W)`` images → ``(N, depth, H/8, W/8)``.

    Parameters
    ----------
    width, pretrained
        See ``CSRNetConfig``.

    Attributes
    ----------
    depth
        Channels of the features, 64 × width.
    stride
        8: pixels per feature cell.
    halo
        Pixels around a tile that its features depend on, rounded up to a multiple of 8.

    Raises
    ------
    ValueError
        For a width that is not positive, or other than 1 with ImageNet weights.
    UserError
        When the ImageNet weights cannot be fetched.
    """

    def __init__(self, width: float = 1.0, pretrained: bool = False) -> None:
        super().__init__()
        if pretrained and width != 1:
            raise ValueError(f"ImageNet weights fit the width 1 only, not {width}")
        self.colours = ImageNetColours()
        channels = 3

        def convolution(full: int, dilation: int) -> list[nn.Module]:
            nonlocal channels
            before, channels = channels, scaled(full, width)
            layer = nn.Conv2d(before, channels, 3, padding=dilation, dilation=dilation)
            return [layer, nn.ReLU(inplace=True)]

        front: list[nn.Module] = []
        for block in FRONT:
            front += [nn.MaxPool2d(2)] if front else []
            for full in block:
                front += convolution(full, 1)
        self.front = nn.Sequential(*front)
        self.back = nn.Sequential(*(part for full in BACK for part in convolution(full, 2)))
        self.depth = channels
        self.stride, reach = _stride_and_reach(self)
        self.halo = -(-reach // self.stride) * self.stride
        for layer in self.front:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        for layer in self.back:
            if isinstance(layer, nn.Conv2d):
                start_small(layer, width)
        if pretrained:
            self.front.load_state_dict(_imagenet_front())

    def forward(self, images: Tensor) -> Tensor:
        """``(N, 3, H, W)`` → ``(N, depth, H/8, W/8)``, not negative."""
        features: Tensor = self.back(self.front(self.colours(images)))
        return features


@register("csrnet")
class CSRNet(HasVariance, HasStages):
    """See the module's text and ``CSRNetConfig``."""

    config_type: ClassVar[type] = CSRNetConfig
    supervision: ClassVar[frozenset[Supervision]] = frozenset({"dots"})

    def __init__(self, config: CSRNetConfig) -> None:
        super().__init__()
        # A saved network has its weights: it is not to ask for others when it is built.
        self.config = replace(config, pretrained=False)
        self.layers = CSRNetLayers(config.width, config.pretrained)
        self.stride = self.multiple = self.layers.stride
        self.halo = self.layers.halo
        self.head = nn.Conv2d(self.layers.depth, 1, 1)
        start_small(self.head, config.width)
        self.variance = variance_head(self.layers.depth + 1)

    def forward(self, images: Tensor, context: Tensor | None = None) -> Output:
        """See ``CountingNetwork.forward``; there is no global context."""
        features = self.layers(images)
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            density = self.head(features)
            known = torch.cat([features.detach(), density.detach()], dim=1)
            return Output(density, self.variance(known).clamp(-16.0, 6.0))

    def variance_parameters(self) -> list[nn.Parameter]:
        """Parameters of the log-variance head."""
        return list(self.variance.parameters())

    @property
    def stages(self) -> tuple[Stage, ...]:
        """One: everything but the variance head, by the density alone."""
        return (Stage("counter", 1.0, "dots", rate=RATE),)

    def stage_parameters(self, stage: Stage) -> list[nn.Parameter]:
        """All but the variance head's."""
        return [*self.layers.parameters(), *self.head.parameters()]

    def stage_loss(
        self, stage: Stage, images: Tensor, context: Tensor | None, target: Target
    ) -> Tensor:
        """Weighted mean squared error of the density, a scalar."""
        error = functional.mse_loss(self(images).density, true_density(target))
        return self.config.density_weight * error


def true_density(target: Target) -> Tensor:
    """``(N, 1, h, w)``, for losses that cannot do without.

    Raises
    ------
    ValueError
        When only counts are known.
    """
    if target.density is None:
        raise ValueError("a density is learned from dots, and only counts are known")
    return target.density


def start_small(layer: nn.Conv2d, width: float) -> None:
    """Start a layer as the paper does; in a narrow network sums must not be smaller for it."""
    nn.init.normal_(layer.weight, std=START / math.sqrt(width))
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


def _stride_and_reach(layers: nn.Module) -> tuple[int, int]:
    """Pixels per cell of the last layer, and pixels around a cell that it depends on."""
    cell, reach = 1, 0
    for layer in layers.modules():
        if isinstance(layer, nn.MaxPool2d):
            cell *= 2  # windows do not overlap, so that a pool reaches no further
        elif isinstance(layer, nn.Conv2d):
            reach += cell * layer.dilation[0] * (layer.kernel_size[0] // 2)
    return cell, reach


def _imagenet_front() -> dict[str, Tensor]:
    """Weights of VGG-16's first ten convolutions, named as in ``CSRNetLayers.front``."""
    last = sum(2 * len(block) + 1 for block in FRONT) - 1
    tensors = imagenet_weights("vgg16", "features.")
    return {name: tensors[name] for name in tensors if int(name.partition(".")[0]) < last}
