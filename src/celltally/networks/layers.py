"""Layers that several families share; none of them pools statistics over space."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ChannelNorm", "Downsample", "ResidualBlock", "UnitNorm"]


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
