"""A data set is a folder (design §5): which images there are and what is known of them."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from celltally.errors import UserError
from celltally.intervals import measure
from celltally.io import read_dots, read_image, read_regions
from celltally.learn.made_from import UNKNOWN, MadeFrom, made_from
from celltally.types import Dots, Grid, Prediction

__all__ = [
    "Dataset",
    "Sample",
    "read_dataset",
    "read_datasets",
    "sample_count",
    "sample_dots",
    "split_by_group",
    "stated_diameter",
]

#: Licence of a data set that a person's own project was exported to.
OWN = "the user's own"
#: What the images of a data set may be (design §5): one plane each, readable everywhere.
SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")

#: What the ``dataset.json`` of public sets says in words only. ``group_pattern`` tells which
#: part of a file's stem names the independent unit (slide, donor, well, scene), where
#: ``{count}`` adds the image's stated count; ``in_focus_pattern`` which images are in focus.
PUBLIC = {
    "mbm": {"group_pattern": r"BM_GRAZ_HE_(\d{4})"},
    "adi": {"group_pattern": r"(GTEX-[A-Z0-9]+)"},
    "idcia": {"group_pattern": r"DAPI__(\d{6}_GFP-AHPC_[A-Z]_[A-Za-z0-9]+)"},
    "bbbc039": {"group_pattern": r"IXMtest_([A-P]\d{2})_"},
    "bbbc005": {"group_pattern": r"{count}_(s\d+)_", "in_focus_pattern": r"_F1_"},
}


@dataclass(frozen=True)
class Sample:
    """One image of a data set and the labels that it has.

    Attributes
    ----------
    stem
        File name without suffix.
    image, dots, mask, regions
        Paths; the last three are None where there are none.
    count
        Stated count, where only that is known.
    group
        Images of one group are not independent and never divided.
    in_focus
        False for images that are known to be out of focus.
    made_from
        The file that the image was exported from (out of a project, say).
    """

    stem: str
    image: Path
    dots: Path | None = None
    count: float | None = None
    mask: Path | None = None
    group: str = ""
    in_focus: bool = True
    regions: Path | None = None
    made_from: MadeFrom = UNKNOWN

    @property
    def name(self) -> str:
        """What the user calls the image: the name of the file that it was exported from, if any."""
        return self.made_from.name or self.image.name


@dataclass(frozen=True)
class Dataset:
    """The content of a data set folder.

    Attributes
    ----------
    name, folder
        The name in ``dataset.json`` (else the folder's) and where it lies.
    diameter_px
        Typical cell diameter in pixels, or None where cells differ by image.
    channel
        Channel to be counted, as ``select_pixels`` takes it, or None for a guess.
    licence
        Licence of the images, in the set's own words.
    samples
        Sorted by stem.
    unlabelled
        Names of the images that have no labels, and are no samples.
    """

    name: str
    folder: Path
    samples: tuple[Sample, ...]
    diameter_px: float | None = None
    channel: int | str | None = None
    licence: str = "not stated"
    unlabelled: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """What the user should know of images without labels; empty where all have some."""
        if not self.unlabelled:
            return ""
        n, more = len(self.unlabelled), len(self.unlabelled) > 1
        return (
            f"{n} image{'s' * more} in {self.folder} {'have' if more else 'has'} no labels and "
            f"{'are' if more else 'is'} left out, such as {self.unlabelled[0]}."
        )

    @property
    def is_cc0(self) -> bool:
        """Whether its pixels may be shown to anybody."""
        return self.licence.upper().startswith("CC0")

    @property
    def may_be_kept(self) -> bool:
        """Whether a model may keep pixels of it: CC0, or the user's own."""
        return self.is_cc0 or self.licence == OWN


def read_dataset(folder: str | Path, *, partly: bool = False) -> Dataset:
    """Read a data set folder; ``dataset.json`` may also lie beside ``train`` and ``val``.

    Parameters
    ----------
    folder
        The data set.
    partly
        Whether images may be in it of which only parts were reviewed: for those who look at
        their regions.

    Raises
    ------
    UserError
        When there are no images, no labels at all, a broken ``dataset.json`` or ``counts.csv``,
        or, unless ``partly``, an image of which only parts were reviewed
        (``regions/<stem>.geojson``): outside of them nothing is known, and nobody may take that
        for empty.
    """
    folder = Path(folder)
    images_dir = folder / "images"
    if not images_dir.is_dir():
        raise UserError(
            f"{folder} is no data set folder: it has no folder 'images'; "
            "see the docs on data sets for the layout"
        )
    meta = _read_meta(folder)
    counts = _read_counts(folder / "counts.csv")
    name = str(meta.get("name") or folder.name)
    meta = {**meta, **PUBLIC.get(name, {})}
    pattern = _pattern(meta, "group_pattern", folder)
    in_focus = _pattern(meta, "in_focus_pattern", folder)
    groups = meta.get("groups")
    groups = groups if isinstance(groups, dict) else {}
    exported = made_from(meta)
    samples, unlabelled = [], []
    unreviewed: list[str] = []
    for path in sorted(images_dir.iterdir()):
        if path.suffix.lower() not in SUFFIXES:
            continue
        dots, mask = folder / "dots" / f"{path.stem}.csv", folder / "masks" / f"{path.stem}.png"
        count = counts.get(path.name, counts.get(path.stem))
        outlines = folder / "regions" / f"{path.stem}.geojson"
        outlined = outlines.is_file()
        # Where regions state counts nothing else need be known of the image.
        if not dots.is_file() and count is None and not (partly and outlined):
            unlabelled.append(path.name)
            continue
        if outlined and not partly and not _covers(outlines, path):
            unreviewed.append(path.name)
        samples.append(
            Sample(
                stem=path.stem,
                image=path,
                dots=dots if dots.is_file() else None,
                count=count,
                mask=mask if mask.is_file() else None,
                group=f"{name}/{groups.get(path.stem) or _group(path.stem, pattern, count)}",
                in_focus=re.search(in_focus, path.stem) is not None,
                regions=outlines if outlined else None,
                made_from=exported.get(path.stem, UNKNOWN),
            )
        )
    if unreviewed:
        n = len(unreviewed)
        raise UserError(
            f"of {n} image{'s' * (n != 1)} in {folder} only parts were reviewed, such as "
            f"{unreviewed[0]}: outside of them nothing is known; review the whole image, take it "
            "out of the data set, or use 'celltally finetune', which learns from parts"
        )
    if not samples:
        raise UserError(
            f"no image in {images_dir} has labels: put dots/<stem>.csv with columns y,x, "
            "or counts.csv with columns image,count, beside 'images'"
        )
    return Dataset(
        name=name,
        folder=folder,
        samples=tuple(samples),
        diameter_px=_diameter(meta.get("diameter_px"), folder),
        channel=_channel(meta.get("channel")),
        licence=_licence(meta.get("licence"), folder),
        unlabelled=tuple(unlabelled),
    )


def stated_diameter(folder: str | Path) -> float | None:
    """Cell diameter in pixels that the ``dataset.json`` of a folder states; None without one.

    Raises
    ------
    UserError
        When ``dataset.json`` is broken.
    """
    return _diameter(_read_meta(Path(folder)).get("diameter_px"), Path(folder))


def read_datasets(folders: Iterable[Path]) -> list[Dataset]:
    """Read data set folders, each once, however it is spelt and often it is given."""
    return [read_dataset(folder) for folder in {f.resolve(): f for f in folders}.values()]


def sample_dots(sample: Sample, shape: tuple[int, int] | None = None) -> Dots:
    """Dots of a sample that has some (removed ones left out).

    Raises
    ------
    UserError
        When the sample has only a count, or a dot lies outside an image of ``shape``.
    """
    if sample.dots is None:
        raise UserError(f"{sample.name} has no dots, only a count; use a set with dots")
    dots = read_dots(sample.dots)
    dots = dots[dots.state != "removed"]
    if shape is not None:
        outside = ((dots.yx < -0.5) | (dots.yx > np.array(shape) - 0.5)).any(axis=1)
        for y, x in dots.yx[outside]:
            raise UserError(
                f"{sample.dots} has a dot at y = {y:g}, x = {x:g}, which lies outside the image "
                f"({shape[0]} × {shape[1]} px); mend it, or swap y and x if they are mixed up"
            )
    return dots


def sample_count(sample: Sample) -> float:
    """Return the true count: the stated one, else the number of dots."""
    return float(sample.count) if sample.count is not None else float(len(sample_dots(sample)))


def split_by_group(
    samples: Sequence[Sample], fraction: float, seed: int, barred: Collection[str] = ()
) -> tuple[list[Sample], list[Sample]]:
    """Divide samples so that no group is on two sides; barred groups stay in the rest.

    Returns
    -------
    tuple of list of Sample
        The rest, and about ``fraction`` of the samples; the second part gets at
        least one group and never all of them, unless there is one group only or all
        are barred (then it is empty).
    """
    groups = sorted({sample.group for sample in samples})
    order = np.random.default_rng(seed).permutation(len(groups))
    sizes = {g: sum(s.group == g for s in samples) for g in groups}
    taken: set[str] = set()
    wanted, have = fraction * len(samples), 0
    for i in order[: len(groups) - 1]:
        if have >= wanted and taken:
            break
        if groups[i] not in barred:
            taken.add(groups[i])
            have += sizes[groups[i]]
    return [s for s in samples if s.group not in taken], [s for s in samples if s.group in taken]


def _covers(outlines: Path, image: Path) -> bool:
    """Whether all of an image is known: wholly reviewed, and nothing excluded.

    Regions that say nothing of what was reviewed (where to count, what is tissue) leave it so.
    """
    regions = read_regions(outlines)
    parts = ("reviewed", "audit", "exclude")
    if not any(region.kind in parts or region.stated is not None for region in regions):
        return True
    sizes = read_image(image).sizes
    shape = sizes["Y"], sizes["X"]
    nothing = np.zeros((1, 1, 1), dtype=np.float32)
    grid = Grid((1, 1), step=(float(shape[0]), float(shape[1])))
    regions = [region for region in regions if not region.by_stated]  # its dots are not known
    areas = measure(Prediction(nothing, nothing, grid, shape, 1.0, "", ""), (), regions)
    # A corner that was drawn by hand may miss the image's by a part of a pixel.
    slack = 0.5 * (shape[0] + shape[1])
    return areas.open_px <= slack and areas.area_px >= shape[0] * shape[1] - slack


def _read_meta(folder: Path) -> dict[str, Any]:
    for path in (folder / "dataset.json", folder.parent / "dataset.json"):
        if path.is_file():
            try:
                meta = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                reason = f"{path} cannot be read as JSON ({error}); mend or remove it"
                raise UserError(reason) from None
            if not isinstance(meta, dict):
                raise UserError(f"{path} must hold one JSON object; mend or remove it")
            return meta
    return {}


def _licence(value: Any, folder: Path) -> str:
    """Words of the licence; ``"see SOURCE.md"`` is looked up on that file's own line of it.

    A model's card goes where the data set's files do not.
    """
    words = str(value or "not stated").strip()
    if not (pointer := re.fullmatch(r"(?i)see ([\w-]+\.\w+)", words)):
        return words
    for path in (folder / pointer[1], folder.parent / pointer[1]):
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            if stated := re.search(r"(?im)^[^\w\n]*licen[cs]e:[ \t*]*(\S.*)$", text):
                return stated[1].strip(" |*")
    return "not stated"


def _read_counts(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    try:
        table = pd.read_csv(path, dtype={"image": str})
        counts = dict(zip(table["image"], table["count"].astype(float), strict=True))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} needs the columns image,count with numbers ({error})") from None
    if len(counts) < len(table):
        twice = table["image"][table["image"].duplicated()].iloc[0]
        raise UserError(f"{path} states the count of {twice} more than once; leave one of them")
    if bad := [name for name, count in counts.items() if not (math.isfinite(count) and count >= 0)]:
        raise UserError(f"{path} states no usable count for {bad[0]}; counts are 0 or more")
    return counts


def _diameter(value: Any, folder: Path) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value < math.inf:
        raise UserError(
            f"the dataset.json of {folder} states the diameter {value!r}; "
            "give pixels as a number from 1 on, or leave diameter_px out"
        )
    return float(value)


def _pattern(meta: dict[str, Any], entry: str, folder: Path) -> str:
    value = meta.get(entry)
    try:
        return re.compile(str(value or "")).pattern
    except re.error as error:
        raise UserError(
            f"the dataset.json of {folder} has a {entry} {value!r} that is no regular "
            f"expression ({error}); mend or remove it"
        ) from None


def _channel(value: Any) -> int | str | None:
    """``"rgb"`` and ``"gray"`` need no choice; ``"blue (2)"`` names one."""
    if value is None or isinstance(value, int):
        return value
    name = str(value).split("(")[0].strip().lower()
    return None if name in {"rgb", "gray", "grey", ""} else name


def _group(stem: str, pattern: str, count: float | None) -> str:
    if not pattern:
        return stem
    found = re.search(pattern.replace("{count}_", ""), stem)
    if found is None:
        return stem
    group = "-".join(g for g in found.groups() if g) or found.group(0)
    return f"{count:g}-{group}" if "{count}" in pattern and count is not None else group


def hash_samples(samples: Iterable[Sample]) -> str:
    """sha256 over names, images, dots and stated counts, in the order of the names."""
    digest = hashlib.sha256()
    for sample in sorted(samples, key=lambda s: s.stem):
        digest.update(f"{sample.stem}\n{sample.count}\n".encode())
        for path in (sample.image, sample.dots):
            content = b"" if path is None else path.read_bytes()
            digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()
