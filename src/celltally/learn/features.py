"""What a network with prototypes sees in a whole training image, place by place."""

from __future__ import annotations

import torch
from torch import Tensor

from celltally.devices import autocast
from celltally.learn.prepare import PreparedImage
from celltally.networks import HasPrototypes
from celltally.scale import MARGIN, pad_with_margin
from celltally.types import Grid

__all__ = ["image_features", "model_grid"]


def model_grid(image: PreparedImage, stride: int) -> Grid:
    """Grid of an image's density at model scale, as its dots are."""
    height, width = (-(-side // stride) for side in image.values.shape[1:])
    return Grid((height, width), (float(stride),) * 2)


def image_features(network: HasPrototypes, image: PreparedImage, device: torch.device) -> Tensor:
    """``(1, D, h, w)`` float32 features of an image, cut to its own grid."""
    values = image.values.float().expand(3, -1, -1)[None].to(device)
    with torch.inference_mode(), autocast(device):
        context = network.encode_context(image.thumbnail[None].to(device))
        features = network.features(pad_with_margin(values, network.multiple), context)
    first = MARGIN // network.stride
    rows, columns = (slice(first, first + n) for n in model_grid(image, network.stride).shape)
    return features.float()[..., rows, columns]
