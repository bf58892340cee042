"""Counting by regression: a network for classification says how many cells a window holds.

Xue, Ray, Hugh & Bigras, "Cell Counting by Regression Using Convolutional Neural Network",
ECCV 2016 Workshops, LNCS 9913, pp. 274–290. An AlexNet or a ResNet with one output learns
the counts of square patches by the Euclidean loss; patches are enlarged to the size that the
backbone expects and turned by multiples of 30° for more of them. A new image is seen through
overlapping windows, 2-D linear interpolation of their counts gives its density, and the
integral of the density is its count.

What is ours, where the paper leaves it open or this program asks for more:

- *Which windows.* Their corners lie on a grid of ``step`` from the image's origin, and they
  reach over its borders, where they see zeros: so every place is seen by ``(patch/step)²``
  windows, and the windows are that many tilings of the image, each shifted against the
  others. The count of an image is the mean of the tilings' counts.
- *From counts to a density.* Every window's count, divided by the number of tilings, is
  spread round the window's centre by the weights of bilinear interpolation: a pyramid that
  falls to zero at the centres of the next windows, ``step`` away. So the density of a place
  is interpolated between the values ``count / patch²`` of the four windows whose centres
  surround it. Where windows overlap by half, those are the windows that cover the place, and
  it is their average, in which the nearest weigh most. What would come to lie beyond a border
  is reflected into the image. Nothing is lost or scaled: the integral is the count, whatever
  the counts' signs.
- *Whole images.* A tile does not know where its image ends, and what border windows count
  would be spread over the zeros around it and lost (with windows that overlap by half, a
  quarter of what lies within a step of a border). So images go through in one piece: the
  windows do so in batches, and no more memory is needed than for the image itself.
- *Turned windows* are cut from the image in their new position, so that they have no empty
  corners, and their counts are the density in there.
- *Batch norm and dropout* are those of training only where the counter learns. What the
  network says of an image is the same in both modes.
- *Variance.* A head says how uncertain the count of a window is. Errors of windows of one
  tiling are taken as independent, those of different tilings, which see the same cells, as
  the same: the variance of a count is then the mean over the tilings of the sums of their
  windows' variances. So variances are spread as the counts are, and those of cells add up.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from celltally.networks.backbones import ImageNetColours, imagenet_weights
from celltally.networks.base import (
    HasPieces,
    HasStages,
    HasVariance,
    Output,
    Stage,
    Supervision,
    Target,
)
from celltally.networks.layers import variance_head
from celltally.networks.registry import register
from celltally.types import Progress

__all__ = ["PatchRegression", "PatchRegressionConfig"]

#: The paper's, and one that is small enough for a first try.
BACKBONES = ("alexnet", "resnet10", "resnet18", "resnet50", "resnet101", "resnet152")
#: An AlexNet has nothing left to pool of smaller pictures.
SMALLEST_ALEXNET_SIDE = 63
#: Windows are turned by multiples of this angle while they are learned.
TURN = math.pi / 6
#: Windows that go through the backbone at once where nothing is learned, and where the way
#: back to the image is asked for: a ResNet-152 remembers 180 MB of each.
AT_ONCE, AT_ONCE_BACK = 32, 8

#: Learning rate against that of `tally`. (From nothing, the loss of an AlexNet leapt to a
#: thousand times its first value at a rate of 1.5e-3, and to twice at 3e-4.)
RATE = 0.2

COUNTER = Stage("counter", share=1.0, supervision="dots", rate=RATE)


@dataclass(frozen=True)
class PatchRegressionConfig:
    """The numbers of the network; the defaults are the paper's.

    Attributes
    ----------
    backbone
        ``resnet152``, the deepest of those that the paper compares, ``resnet101``,
        ``resnet50`` or ``alexnet``; or, for small networks, ``resnet18`` or ``resnet10``,
        which has half of its blocks. All are torchvision's; its AlexNet is the one without
        groups (Krizhevsky 2014).
    patch, step
        Side of a window and distance of neighbouring ones. The paper has 60 and 30, 40 and
        20, or 200 and 50, in pixels of its data sets; here they are pixels of the model
        scale, where a window of 60 is five cells of 12 px wide. ``patch`` is a multiple of
        ``step``, and ``step`` is even.
    side
        Side that windows are enlarged to: 224, or 227 for the AlexNet of the paper.
    windows
        How many windows a step of the training learns from, drawn at random from those of
        its crops: all of them would not fit the memory with the deeper backbones.
    pretrained
        Whether the backbone starts from ImageNet weights, which torchvision fetches. A built
        network's config says False: it can be built again without them.
    """

    backbone: str = "resnet152"
    patch: int = 60
    step: int = 30
    side: int = 224
    windows: int = 32
    pretrained: bool = False


@register("patch_regression")
class PatchRegression(HasPieces, HasVariance, HasStages):
    """See the module's text and ``PatchRegressionConfig``.

    Raises
    ------
    ValueError
        For settings that do not fit each other.
    UserError
        When ImageNet weights are asked for and cannot be fetched.
    """

    config_type: ClassVar[type] = PatchRegressionConfig
    supervision: ClassVar[frozenset[Supervision]] = frozenset({"dots"})
    #: The density is smooth enough for more, but the true counts of turned windows are not.
    stride = 2
    #: Only a whole image has borders; see the module's text.
    halo = None
    #: 27 measured at 2048², and 25 for each pixel above 512² (float32, a CPU). Beside them the
    #: windows at hand take 330 MB with a ResNet-50, whatever the image's size.
    bytes_per_pixel = 30

    def __init__(self, config: PatchRegressionConfig) -> None:
        super().__init__()
        _check(config)
        self.config = replace(config, pretrained=False)
        # Any size will do; crops of whole steps have all their windows in place.
        self.multiple = config.step
        self.colours = ImageNetColours()
        self.backbone, features = _backbone(config)
        self.backbone.eval()
        self.head = nn.Linear(features, 1)
        self.variance = variance_head(features + 1)

    def iter_forward(
        self, images: Tensor, context: Tensor | None = None
    ) -> Generator[Progress, None, Output]:
        """See ``HasPieces.iter_forward``; images may have any height and width.

        Pieces are some windows at once.
        """
        batch, (height, width) = len(images), images.shape[2:]
        patch, step = self.config.patch, self.config.step
        down, across = (
            _spreading(length, patch, step, self.stride).to(images.device)
            for length in (height, width)
        )
        grid = (batch, 1, down.shape[1], across.shape[1])
        parts: list[tuple[Tensor, Tensor]] = []
        done = 0
        for part in self._looks(images):
            parts.append(part)
            done += len(part[0])
            yield Progress(done, math.prod(grid), "counting windows")
        with torch.autocast(images.device.type, enabled=False):
            counts, log_variances = (torch.cat(p).reshape(grid) for p in zip(*parts, strict=True))
            # The head speaks of a density cell, as those of other networks do.
            variances = (patch // self.stride) ** 2 * log_variances.exp()
            return Output(
                density=down @ counts @ across.T,
                log_variance=(down @ variances @ across.T).log().clamp(-16.0, 6.0),
            )

    def train(self, mode: bool = True) -> PatchRegression:
        """Set the mode of all but the backbone, which learns in ``stage_loss`` only."""
        super().train(mode)
        self.backbone.eval()
        return self

    def variance_parameters(self) -> list[nn.Parameter]:
        """Parameters of the log-variance head."""
        return list(self.variance.parameters())

    @property
    def stages(self) -> tuple[Stage, ...]:
        """One: the counter of windows."""
        return (COUNTER,)

    def stage_parameters(self, stage: Stage) -> list[nn.Parameter]:
        """All but the variance head's."""
        return [*self.backbone.parameters(), *self.head.parameters()]

    def stage_loss(
        self, stage: Stage, images: Tensor, context: Tensor | None, target: Target
    ) -> Tensor:
        """Euclidean loss of the counts of windows, half their mean squared error.

        A crop is taken for an image: its windows reach over its borders as those of images
        do, so that the zeros there are learned as well.
        """
        if target.density is None:
            raise ValueError(f"the stage {stage.name!r} needs a density")
        patch, step, device = self.config.patch, self.config.step, images.device
        drawn = (len(images), max(1, round(self.config.windows / len(images))))
        axes = [
            torch.randint(_number(n, patch, step), drawn, device=device) for n in images.shape[2:]
        ]
        centres = step * (torch.stack(axes, dim=-1) + 1.0) - patch / 2
        angles = TURN * torch.randint(round(math.tau / TURN), drawn, device=device)
        pictures = _cut(images, centres, angles, patch, self.config.side)
        cells = patch // self.stride
        true = _cut(target.density, centres / self.stride, angles, cells, cells)
        self.backbone.train(self.training)
        try:
            counts = self._count(self._features(pictures))
        finally:
            self.backbone.eval()
        return 0.5 * (counts - true.sum(dim=(1, 2, 3))).square().mean()

    def _looks(self, images: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield counts and log-variances of all windows, row by row, some at once.

        Where a gradient with respect to the images is asked for, the windows are looked at
        once more on the way back, some at a time: no memory holds what a deep backbone
        remembers of all of them.
        """
        patch, step = self.config.patch, self.config.step
        around = patch - step
        below, right = (around + -length % step for length in images.shape[2:])
        padded = functional.pad(images, (around, right, around, below))
        # A view: only the windows at hand are copied.
        views = padded.unfold(2, patch, step).unfold(3, patch, step).permute(0, 2, 3, 1, 4, 5)
        number, back = views.shape[:3].numel(), images.requires_grad
        at_once = AT_ONCE_BACK if back else AT_ONCE
        for first in range(0, number, at_once):
            chosen = torch.arange(first, min(first + at_once, number))
            if back:
                yield checkpoint(self._look, views, chosen, use_reentrant=False)
            else:
                yield self._look(views, chosen)

    def _look(self, views: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return counts and log-variances of windows, ``(M,)`` float32.

        Parameters
        ----------
        views
            ``(N, rows, columns, 3, patch, patch)``, all windows.
        chosen
            ``(M,)``, numbers of those that are looked at, enlarged to the config's side.
        """
        windows = functional.interpolate(
            views[torch.unravel_index(chosen, views.shape[:3])],
            (self.config.side,) * 2,
            mode="bilinear",
            align_corners=False,
        )
        features = self._features(windows)
        counts = self._count(features)
        with torch.autocast(windows.device.type, enabled=False):
            # An untrained backbone's features have any size: their pattern is what tells, and
            # of the count its order.
            pattern = functional.layer_norm(features.detach().float(), features.shape[1:])
            known = torch.cat([pattern, counts.detach().asinh()[:, None]], dim=1)
            log_variances = self.variance(known[:, :, None, None]).clamp(-16.0, 6.0)
            return counts, log_variances.flatten()

    def _features(self, windows: Tensor) -> Tensor:
        """``(M, 3, side, side)`` → ``(M, features)``."""
        features: Tensor = self.backbone(self.colours(windows))
        return features

    def _count(self, features: Tensor) -> Tensor:
        """``(M, features)`` → ``(M,)`` float32."""
        with torch.autocast(features.device.type, enabled=False):
            counts: Tensor = self.head(features.float())
            return counts[:, 0]


def _check(config: PatchRegressionConfig) -> None:
    """Raise for settings that do not fit each other."""
    patch, step, stride = config.patch, config.step, PatchRegression.stride
    if config.backbone not in BACKBONES:
        raise ValueError(f"the backbone {config.backbone!r} is none of: {', '.join(BACKBONES)}")
    if step < stride or step % stride or patch < step or patch % step:
        raise ValueError(
            f"a patch of {patch} px is no multiple of the step of {step} px, or this is not even"
        )
    if config.backbone == "alexnet" and config.side < SMALLEST_ALEXNET_SIDE:
        raise ValueError(f"a side of {config.side} is below {SMALLEST_ALEXNET_SIDE}")
    if config.backbone == "resnet10" and config.pretrained:
        raise ValueError("there are no ImageNet weights of resnet10")
    if config.windows < 2:
        raise ValueError(f"{config.windows} windows are too few for batch norm")


def _backbone(config: PatchRegressionConfig) -> tuple[nn.Module, int]:
    """Torchvision's network without its last layer, and how many features it gives."""
    from torchvision import models  # seconds to import

    # Blocks that first add nothing (Goyal et al. 2017, §5.1) keep signals in bounds while the
    # norms' statistics are those of no image yet.
    start = {} if config.backbone == "alexnet" else {"zero_init_residual": True}
    backbone: nn.Module
    if config.backbone == "resnet10":
        backbone = models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], **start)
    else:
        backbone = models.get_model(config.backbone, weights=None, **start)
    if config.pretrained:
        backbone.load_state_dict(imagenet_weights(config.backbone))
    name = "classifier.6" if config.backbone == "alexnet" else "fc"
    last = backbone.get_submodule(name)
    if not isinstance(last, nn.Linear):
        raise TypeError(f"{config.backbone} has no linear layer {name!r}")
    backbone.set_submodule(name, nn.Identity())
    return backbone, last.in_features


def _number(length: int, patch: int, step: int) -> int:
    """Windows along an axis: all on the grid that see some of the image."""
    return -(-length // step) + patch // step - 1


def _spreading(length: int, patch: int, step: int, stride: int) -> Tensor:
    """Shares of windows' counts that density cells along one axis are given.

    Parameters
    ----------
    length
        Pixels of the image along the axis.
    patch, step, stride
        Side of a window, distance of windows, side of a density cell, all in pixels.

    Returns
    -------
    Tensor
        ``(cells, windows)`` float32, ≥ 0; every column adds up to ``step / patch``, for
        that many windows see every place.
    """
    centres = step * torch.arange(1, _number(length, patch, step) + 1) - patch // 2
    offsets = torch.arange(-step, step)
    weights = (1.0 - (offsets + 0.5).abs() / step) / patch
    pixels = (centres[:, None] + offsets) % (2 * length)
    pixels = torch.minimum(pixels, 2 * length - 1 - pixels)  # reflected at both borders
    shares = torch.zeros(-(-length // stride), len(centres), dtype=torch.float64)
    columns = torch.arange(len(centres))[:, None].expand_as(pixels)
    shares.index_put_(
        (pixels // stride, columns), weights.double().expand(pixels.shape), accumulate=True
    )
    return shares.float()


def _cut(maps: Tensor, centres: Tensor, angles: Tensor, extent: int, points: int) -> Tensor:
    """Cut turned squares out of maps; what lies beyond a map is zero.

    Parameters
    ----------
    maps
        ``(N, C, H, W)``.
    centres
        ``(N, k, 2)``, y and x of the squares' centres in cells of the map, whose first cell
        reaches from 0 to 1.
    angles
        ``(N, k)``, by which they are turned, in radians.
    extent
        Side of a square in cells of the map.
    points
        Rows and columns of points at which a square is looked at.

    Returns
    -------
    Tensor
        ``(N · k, C, points, points)``, interpolated bilinearly.
    """
    height, width = maps.shape[2:]
    along = ((torch.arange(points, device=maps.device) + 0.5) / points - 0.5) * extent
    cos, sin = angles.cos()[..., None, None], angles.sin()[..., None, None]
    y = centres[..., 0, None, None] + cos * along[:, None] + sin * along
    x = centres[..., 1, None, None] - sin * along[:, None] + cos * along
    # In a frame in which the map reaches from −1 to 1.
    where = torch.stack([2 * x / width, 2 * y / height], dim=-1) - 1
    cut: Tensor = functional.grid_sample(
        maps, where.flatten(1, 2), mode="bilinear", padding_mode="zeros", align_corners=False
    )
    batch, squares = angles.shape
    cut = cut.reshape(batch, -1, squares, points, points)
    return cut.transpose(1, 2).flatten(0, 1)
