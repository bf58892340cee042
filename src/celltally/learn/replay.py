"""Patches that a model keeps of what it learned from, to be shown again while it learns more.

Rehearsal (Robins 1995, "Catastrophic forgetting, rehearsal and pseudorehearsal", Connection
Science 7:123–146): a network that goes on learning from new images alone unlearns the old
ones, and a few of these among the new ones keep it from that. Which few: those that stand for
the others (``_chosen``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from celltally.errors import UserError
from celltally.learn.batches import OVERHANG, SIGMA
from celltally.learn.prepare import PreparedImage
from celltally.preprocess import CEILING
from celltally.scale import THUMBNAIL

__all__ = ["ReplayPatch", "in_words", "make_replay", "replay_patches", "store_patches"]

#: Grey patches that are kept: about a megabyte. A patch in colour takes the room of three.
PATCHES = 48
#: Side of a patch at model scale.
SIDE = 128
#: Places that are looked at for each patch that is kept.
CANDIDATES = 12
#: Dots so many widths of their Gaussian outside of a patch still reach into it.
REACH = 4.0
#: Groups that patches are stored in, with the channels of each.
CHANNELS = {"grey": 1, "colour": 3}
#: Largest value of a stored pixel.
LEVELS = 255
#: No edge of an image is further from a patch than this, in pixels.
FURTHEST = 2**24


@dataclass(frozen=True, eq=False)
class ReplayPatch:
    """A part of an image, ready for a network.

    Attributes
    ----------
    values
        ``(C, h, w)`` float32, normalised, at model scale, C = 1 or 3; zeros where the patch
        reaches over the border of its image.
    thumbnail
        ``(3, 64, 64)`` float32, of the whole image.
    yx
        ``(n, 2)`` dots in pixels of the patch; also those close by outside of it whose cells
        reach into it.
    dataset
        Name of the data set that the image is from.
    extent
        Outline ``(y0, x0, y1, x1)`` of the image in pixels of the patch, as ``density_map``
        takes it.
    """

    values: Tensor
    thumbnail: Tensor
    yx: NDArray[np.float64]
    dataset: str
    extent: tuple[float, float, float, float]


def make_replay(
    images: Sequence[PreparedImage],
    rng: np.random.Generator,
    *,
    free: Collection[str],
    kept: Sequence[ReplayPatch] = (),
    patches: int = PATCHES,
    side: int = SIDE,
) -> dict[str, Tensor]:
    """Choose patches of images and store them.

    Data sets share the room alike. Of each, many random places are looked at, and those are
    kept that stand for the others: with few and many cells, and with none.

    Parameters
    ----------
    images
        Those with dots are used.
    rng
        Source of all chance.
    free
        Names of the data sets whose pixels may be stored.
    kept
        Patches that a model has already; they share the room with those of ``images``.
    patches
        Room, in grey patches; one in colour takes that of three.
    side
        Of a patch, in pixels at model scale.

    Returns
    -------
    dict
        What ``Model.replay`` holds; empty where nothing may be stored.
    """
    images = [image for image in images if image.yx is not None and image.dataset in free]
    names = {*(i.dataset for i in images), *(p.dataset for p in kept)}
    wanted = CANDIDATES * math.ceil(patches / max(1, len(names)))
    pools: dict[str, list[_Candidate]] = {}
    for name in sorted(names):
        own = [image for image in images if image.dataset == name]
        old = [_Candidate(p, f"kept {i}") for i, p in enumerate(kept) if p.dataset == name]
        pools[name] = _candidates(own, wanted, side, rng) + old
    found: list[ReplayPatch] = []
    room = patches
    # What a set with few patches leaves over is for the others.
    for i, name in enumerate(sorted(pools, key=lambda name: len(pools[name]))):
        chosen = _chosen(pools[name], room // (len(pools) - i))
        found += chosen
        room -= sum(len(patch.values) for patch in chosen)
    return store_patches(found)


def replay_patches(stored: Mapping[str, Tensor]) -> list[ReplayPatch]:
    """Patches that a model keeps; none for an empty mapping.

    Raises
    ------
    UserError
        When the content is damaged.
    """
    if not stored:
        return []
    try:
        return _read(stored)
    except (KeyError, ValueError, TypeError, RuntimeError, UnicodeDecodeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"the patches that the model keeps to learn from are damaged ({reason}); "
            "copy the model again"
        ) from None


def store_patches(patches: Sequence[ReplayPatch]) -> dict[str, Tensor]:
    """Store patches of one size, a byte a value; what ``Model.replay`` holds.

    The values of a patch, and those of a thumbnail, are stored in 255 equal steps from its
    smallest to its largest, so none is clipped and each is within half a step. Patches that
    were stored before come out as they went in.

    Raises
    ------
    ValueError
        When patches differ in size.
    """
    if not patches:
        return {}
    if len({patch.values.shape[1:] for patch in patches}) > 1:
        raise ValueError("patches of several sizes cannot be stored together")
    sets = sorted({patch.dataset for patch in patches})
    stored = {"sets": torch.frombuffer(bytearray(json.dumps(sets).encode()), dtype=torch.uint8)}
    for group, channels in CHANNELS.items():
        own = [patch for patch in patches if len(patch.values) == channels]
        if not own:
            continue
        values, ranges = zip(*(_coded(_known(p)) for p in own), strict=True)
        # The thumbnail of a grey image is three times the same.
        small, small_ranges = zip(*(_coded(p.thumbnail[:channels]) for p in own), strict=True)
        dots = np.concatenate([p.yx for p in own]).astype(np.float32).reshape(-1, 2)
        stored |= {
            f"{group}.values": torch.stack(values),
            f"{group}.value_range": torch.tensor(ranges),
            f"{group}.thumbnails": torch.stack(small),
            f"{group}.thumbnail_range": torch.tensor(small_ranges),
            f"{group}.extent": torch.tensor([p.extent for p in own], dtype=torch.float32),
            f"{group}.dots": torch.from_numpy(dots),
            f"{group}.n_dots": torch.tensor([len(p.yx) for p in own], dtype=torch.int32),
            f"{group}.set": torch.tensor([sets.index(p.dataset) for p in own], dtype=torch.int32),
        }
    return stored


def in_words(stored: Mapping[str, Tensor], licences: Mapping[str, str]) -> str:
    """Say what is kept, and under which licence: for a record and its card."""
    names = [patch.dataset for patch in replay_patches(stored)]
    parts = []
    for name in dict.fromkeys(names):
        licence = f" ({licences[name]})" if name in licences else ""
        parts.append(f"{names.count(name)} of {name}{licence}")
    return ", ".join(parts)


# ---- which patches ----


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A patch that may be kept, and the image that it is from."""

    patch: ReplayPatch
    image: str
    look: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "look", _look(self.patch))


def _look(patch: ReplayPatch) -> NDArray[np.float64]:
    """Figures by which patches are alike: cells in it, light, contrast, sharpness, colour."""
    height, width = patch.values.shape[1:]
    inside = ((patch.yx > -0.5) & (patch.yx < np.array([height, width]) - 0.5)).all(axis=1)
    cells = int(inside.sum())
    values = patch.values
    grey = values.mean(dim=0)
    steps = torch.diff(grey, dim=1)
    colour = (values.mean(dim=(1, 2)) - values.mean()).abs().max()
    figures = [grey.mean(), grey.std(), grey.quantile(0.99), steps.abs().mean(), colour]
    return np.array([math.sqrt(cells), float(cells == 0), *map(float, figures)])


def _candidates(
    images: Sequence[PreparedImage], wanted: int, side: int, rng: np.random.Generator
) -> list[_Candidate]:
    """Cut about ``wanted`` patches at random places, from all images alike."""
    found: list[_Candidate] = []
    order = rng.permutation(len(images))
    for i in order:
        image = images[i]
        shape = (int(image.values.shape[1]), int(image.values.shape[2]))
        # An image that fits into a patch is cut once, for every cut would be the same.
        times = 1 if max(shape) <= side else max(1, math.ceil(wanted / len(images)))
        name = str(image.sample.image)
        found += [_Candidate(_cut(image, side, rng), name) for _ in range(times)]
        if len(found) >= wanted:
            break
    return found


def _cut(image: PreparedImage, side: int, rng: np.random.Generator) -> ReplayPatch:
    """Cut a patch at a random place; it may reach over the border as crops do.

    What is smaller than a patch lies in its middle, with zeros around as in a prediction.
    """
    shape = np.array(image.values.shape[1:])
    smaller = shape <= side
    low = np.where(smaller, (shape - side) // 2, -OVERHANG)
    high = np.where(smaller, low, shape - side + OVERHANG)
    corner = rng.integers(low, high, endpoint=True)
    extent = np.concatenate([-0.5 - corner, shape - corner - 0.5])
    yx = np.empty((0, 2)) if image.yx is None else image.yx - corner
    nominal = image.diameter_px * float(shape[0]) / image.image_shape[0]
    reach = REACH * SIGMA * nominal
    near = ((yx > -0.5 - reach) & (yx < side - 0.5 + reach)).all(axis=1)
    y0, x0, y1, x1 = (float(e) for e in extent)
    return ReplayPatch(
        _window(image.values, corner, side), image.thumbnail, yx[near], image.dataset,
        (y0, x0, y1, x1),
    )  # fmt: skip


def _window(values: Tensor, corner: NDArray[np.int64], side: int) -> Tensor:
    y, x = (int(c) for c in corner)
    y0, x0 = max(y, 0), max(x, 0)
    window = values[:, y0 : max(y + side, 0), x0 : max(x + side, 0)].float()
    top, left = y0 - y, x0 - x
    bottom, right = side - top - window.shape[1], side - left - window.shape[2]
    return functional.pad(window, (left, right, top, bottom))


def _chosen(candidates: Sequence[_Candidate], room: int) -> list[ReplayPatch]:
    """Choose patches that stand for all: each in turn the one that brings them nearest.

    The distance is that of the figures of ``_look``, each in units of its spread; the sum
    over all candidates of the distance to the nearest chosen one is made small step by step
    (greedy facility location: Nemhauser, Wolsey and Fisher 1978, Mathematical Programming
    14:265–294). An image gives no more patches than it must.
    """
    if not candidates:
        return []
    looks = np.stack([c.look for c in candidates])
    spread = looks.std(axis=0)
    looks = (looks - looks.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    apart = np.linalg.norm(looks[:, None] - looks[None], axis=2)
    nearest = np.full(len(candidates), apart.max() + 1.0)
    images = [c.image for c in candidates]
    most = math.ceil(room / len(set(images)))
    open_ = np.ones(len(candidates), dtype=bool)
    taken: list[int] = []
    left = room
    while True:
        fits = np.array([len(c.patch.values) <= left for c in candidates])
        if not (open_ & fits).any():
            break
        gain = np.maximum(nearest[:, None] - apart, 0.0).sum(axis=0)
        best = int(np.argmax(np.where(open_ & fits, gain, -1.0)))
        taken.append(best)
        left -= len(candidates[best].patch.values)
        nearest = np.minimum(nearest, apart[:, best])
        open_[best] = False
        if sum(images[i] == images[best] for i in taken) >= most:
            open_ &= np.array([image != images[best] for image in images])
    return [candidates[i].patch for i in taken]


# ---- a byte a value ----


def _known(patch: ReplayPatch) -> Tensor:
    """Values of a patch, with no zeros around the image that would widen their range."""
    inside = _inside(patch.extent, patch.values.shape[-1])
    lowest = patch.values[:, inside].min()
    return torch.where(inside, patch.values, lowest)


def _inside(extent: tuple[float, float, float, float], side: int) -> Tensor:
    """``(side, side)`` bool, true in the image."""
    y0, x0, y1, x1 = extent
    at = torch.arange(side)
    return ((at > y0) & (at < y1))[:, None] & ((at > x0) & (at < x1))


def _coded(values: Tensor) -> tuple[Tensor, tuple[float, float]]:
    """Values as bytes, and what the smallest and the largest byte stand for."""
    low, high = float(values.min()), float(values.max())
    step = (high - low) / LEVELS or 1.0
    return ((values - low) / step).round().to(torch.uint8), (low, high)


def _decoded(codes: Tensor, ends: Tensor) -> Tensor:
    """``(n, C, h, w)`` float32 of bytes and of ``(n, 2)`` what their ends stand for."""
    low, high = (end.view(-1, 1, 1, 1) for end in ends.unbind(dim=1))
    return torch.minimum(low + codes.float() * ((high - low) / LEVELS), high)  # but for rounding


def _read(stored: Mapping[str, Tensor]) -> list[ReplayPatch]:
    sets = json.loads(bytes(_checked(stored, "sets", torch.uint8, (None,)).tolist()))
    if not isinstance(sets, list) or not all(isinstance(name, str) for name in sets):
        raise ValueError("sets holds no list of names")
    patches: list[ReplayPatch] = []
    expected = {"sets"}
    for group, channels in CHANNELS.items():
        if f"{group}.values" not in stored:
            continue
        patches += _read_group(stored, group, channels, sets)
        expected |= {
            f"{group}.{part}"
            for part in (
                *("values", "value_range", "thumbnails", "thumbnail_range"),
                *("extent", "dots", "n_dots", "set"),
            )
        }
    if unknown := sorted(set(stored) - expected):
        raise ValueError(f"{unknown[0]} is unknown")
    return patches


def _read_group(
    stored: Mapping[str, Tensor], group: str, channels: int, sets: list[str]
) -> list[ReplayPatch]:
    codes = _checked(stored, f"{group}.values", torch.uint8, (None, channels, None, None))
    n, _, side, width = codes.shape
    if side != width or side == 0:
        raise ValueError(f"{group}.values are no squares")

    def part(name: str, dtype: torch.dtype, *shape: int | None) -> Tensor:
        return _checked(stored, f"{group}.{name}", dtype, shape)

    ranges = part("value_range", torch.float32, n, 2)
    small = part("thumbnails", torch.uint8, n, channels, THUMBNAIL, THUMBNAIL)
    small_ranges = part("thumbnail_range", torch.float32, n, 2)
    extents = part("extent", torch.float32, n, 4)
    dots = part("dots", torch.float32, None, 2)
    numbers = part("n_dots", torch.int32, n).tolist()
    owners = part("set", torch.int32, n).tolist()
    for ends in (ranges, small_ranges):
        # Negated, so that what is no number is found as well.
        if not bool(((ends[:, 0] <= ends[:, 1]) & (ends.abs() <= CEILING).all(dim=1)).all()):
            raise ValueError(f"{group} has values that no image has")
    y0, x0, y1, x1 = extents.unbind(dim=1)
    seen = (torch.maximum(y0, x0) < side - 1) & (torch.minimum(y1, x1) > 0)
    if not bool((seen & (y0 < y1) & (x0 < x1) & (extents.abs() < FURTHEST).all(dim=1)).all()):
        raise ValueError(f"{group}.extent shows nothing of an image")
    if not bool(torch.isfinite(dots).all()):
        raise ValueError(f"{group}.dots lie nowhere")
    if min(numbers, default=0) < 0 or sum(numbers) != len(dots):
        raise ValueError(f"{group}.n_dots and {group}.dots differ")
    if not all(0 <= owner < len(sets) for owner in owners):
        raise ValueError(f"{group}.set names no data set")
    values, thumbnails = _decoded(codes, ranges), _decoded(small, small_ranges)
    starts = np.cumsum([0, *numbers])
    yx = dots.numpy().astype(np.float64)
    found = []
    for i in range(n):
        top, left, bottom, right = extents[i].tolist()
        extent = (top, left, bottom, right)
        found.append(
            ReplayPatch(
                torch.where(_inside(extent, side), values[i], 0.0),
                thumbnails[i].expand(3, -1, -1),
                yx[starts[i] : starts[i + 1]],
                sets[owners[i]],
                extent,
            )
        )
    return found


def _checked(
    stored: Mapping[str, Tensor], name: str, dtype: torch.dtype, shape: Sequence[int | None]
) -> Tensor:
    """Tensor of a name, if it is as it must be; None in ``shape`` stands for any length."""
    if name not in stored:
        raise ValueError(f"{name} is missing")
    tensor = stored[name]
    fits = len(shape) == tensor.ndim and all(
        wanted in (None, have) for wanted, have in zip(shape, tensor.shape, strict=True)
    )
    if tensor.dtype != dtype or not fits:
        raise ValueError(f"{name} has the type {tensor.dtype} and shape {tuple(tensor.shape)}")
    return tensor
