"""Layers that several families share; none of them pools statistics over space."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "ChannelNorm",
    "Downsample",
    "ResidualBlock",
    "UnitNorm",
    "scaled",
    "variance_head",
    "zero",
]


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each place alone, in float32.

    A norm whose statistics pool over space would make a tile's result depend on
    where it was cut; this one does not (ConvNeXt, Liu et al. 2022, §2.6).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` → the same shape."""
        x = x.permute(0, 2, 3, 1)
        x = functional.layer_norm(x, (self.channels,), self.weight, self.bias, 1e-5)
        return x.permute(0, 3, 1, 2)


class UnitNorm(nn.Module):
    """Scale the channels of each place to the norm ``√channels``, in float32."""

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` → the same shape, float32."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class ResidualBlock(nn.Module):
    """``x + conv(relu(conv(norm(x))))`` with 3×3 convolutions; reaches 2 cells."""

    reach = 2

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` → the same shape."""
        # In place wherever autograd allows: fresh memory costs more than the sums.
        out: Tensor = self.second(functional.relu_(self.first(self.norm(x))))
        return out.add_(x)


class Downsample(nn.Sequential):
    """Norm and a 2×2 convolution with stride 2: no overlap, so no reach beyond the cell."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(ChannelNorm(channels), nn.Conv2d(channels, out_channels, 2, stride=2))


def variance_head(channels: int, classes: int = 1, hidden: int = 32) -> nn.Sequential:
    """Log-variance of every place from what is known there, small at first.

    It is given detached features, so that it cannot spoil the count (the aleatoric head
    of Hernández et al. 2018, behind a mean that is learned without it).
    """
    head = nn.Sequential(
        nn.Conv2d(channels, hidden, 1),
        nn.ReLU(inplace=True),
        zero(nn.Conv2d(hidden, classes, 1)),
    )
    # A density cell of a lone cell's blob errs by some hundredths.
    nn.init.constant_(head[2].bias, -7.0)  # type: ignore[arg-type]
    return head


def zero(layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
    """Start a layer at zero, so that it first changes nothing."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def scaled(channels: int, width: float) -> int:
    """Channels of a layer in a network of another width: ``width`` × as many, at least 1.

    Raises
    ------
    ValueError
        For a width that is not positive.
    """
    if not width > 0:
        raise ValueError(f"a width of {width} leaves no channels")
    return max(1, round(channels * width))
