"""Files of dots and regions → the fields that ``celltally agree`` compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from celltally.errors import UserError
from celltally.types import Dots, Region

if TYPE_CHECKING:
    from celltally.evaluate.agreement import Field

__all__ = ["KINDS", "Given", "read_fields"]

#: Kinds of regions that cells are counted in, each for itself.
KINDS = ("audit", "reviewed", "count")


@dataclass
class Given:
    """What is to be compared, and what is to be said of it.

    Attributes
    ----------
    fields, radii
        Fields that both have, and the radius in pixels of each.
    origins
        In words, where the radii are from.
    alone
        Files whose dots the other does not have.
    bare
        Names of images without regions.
    elsewhere
        Regions in whose plane nobody has dots, but in others.
    """

    fields: list[Field] = field(default_factory=list)
    radii: list[float] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)
    bare: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)


def read_fields(
    a: Path,
    b: Path,
    radius: float | None,
    regions: Path | None,
    kinds: Sequence[str],
    ignore_z: bool,
) -> Given:
    """Read what is to be compared; the arguments are those of the command.

    Raises
    ------
    UserError
        When there is nothing to compare, a file cannot be read, or a radius is not known.
    """
    from celltally.evaluate.agreement import Field, split_times
    from celltally.io import read_dots

    if regions is not None and not regions.is_dir():
        what = "is a file" if regions.exists() else "does not exist"
        raise UserError(f"{regions} {what}; give the folder of the regions, <stem>.geojson")
    given = Given()
    for stem, files in _partners(a, b, regions, given).items():
        radius_px, origin = (radius, "as given") if radius is not None else _half_a_cell(files)
        whole = Field(stem, read_dots(files[0]), read_dots(files[1]))
        if ignore_z:
            whole = replace(whole, a=_flat(whole.a), b=_flat(whole.b))
        if regions is None:
            fields = split_times(whole)
        else:
            drawn = regions / f"{stem}.geojson"
            fields = _in_regions(whole, drawn, kinds, ignore_z) if drawn.is_file() else []
            given.elsewhere += [f"{part.region} of {stem}" for part in fields if _elsewhere(part)]
        if not fields:
            given.bare.append(stem)
        given.fields += fields
        given.radii += [radius_px] * len(fields)
        given.origins.append(origin)
    if not given.fields:
        raise UserError(
            f"{regions} has no regions to compare ({', '.join(kinds)}) of {given.bare[0]}; "
            "a field's regions are in <stem>.geojson, named as its dots"
        )
    return given


def _half_a_cell(files: tuple[Path, Path]) -> tuple[float, str]:
    """Radius in pixels for two files of dots, and in words where it is from."""
    from celltally.io.provenance import read_provenance
    from celltally.learn.data import stated_diameter

    for file in files:
        if (diameter := stated_diameter(file.resolve().parent.parent)) is not None:
            return diameter / 2, "half the cell diameter of dataset.json"
    for file in files:
        known = read_provenance(file)
        if known is not None and known.diameter_px is not None:
            return known.diameter_px / 2, "half the cell diameter counted with"
    raise UserError(
        f"how far apart two dots of one cell may be is not known of {files[0]}: give --radius, "
        "usually half the cell diameter in pixels"
    )


def _flat(dots: Dots) -> Dots:
    return replace(dots, z=np.zeros_like(dots.z))


def _partners(a: Path, b: Path, regions: Path | None, given: Given) -> dict[str, tuple[Path, Path]]:
    """Files of A and of B by stem; what only one of them has is noted."""
    if not a.is_dir() and not b.is_dir():
        return {a.stem: (a, b)}
    files_a, files_b = _files(a, regions), _files(b, regions)
    for here, there, other in ((files_a, files_b, b), (files_b, files_a, a)):
        # A file beside a folder names the one that is meant.
        if not other.is_dir():
            continue
        given.alone += [str(path) for stem, path in here.items() if stem not in there]
    both = [stem for stem in files_a if stem in files_b]
    if not both:
        raise UserError(
            f"no file of dots in {a} has one of the same name in {b}; files belong together "
            "whose names without suffix are the same"
        )
    return {stem: (files_a[stem], files_b[stem]) for stem in both}


def _files(path: Path, regions: Path | None) -> dict[str, Path]:
    """Files of dots by stem."""
    from celltally.io.dots import DOT_FORMATS, recognised

    if not path.exists():
        raise UserError(f"{path} does not exist; give a file or a folder of dots")
    if not path.is_dir():
        return {path.stem: path}
    suffixes = {".csv"}.union(*(known.suffixes for known in DOT_FORMATS))
    if regions is not None and regions.samefile(path):
        suffixes.discard(".geojson")
    found: dict[str, Path] = {}
    for file in sorted(path.iterdir()):
        if file.name.startswith(".") or file.suffix.lower() not in suffixes or file.is_dir():
            continue
        # Tables of counts, and what is known of the dots beside them, have these suffixes, too.
        if recognised(file) is None:
            continue
        if file.stem in found:
            raise UserError(
                f"{path} has both {found[file.stem].name} and {file.name}; leave one file of "
                "dots of each image"
            )
        found[file.stem] = file
    if not found:
        raise UserError(f"{path} has no file of dots ({', '.join(sorted(suffixes))})")
    return found


def _in_regions(whole: Field, path: Path, kinds: Sequence[str], ignore_z: bool) -> list[Field]:
    """Give a field for each region of the kinds that has an inside."""
    from celltally.io.regions import read_regions

    drawn = [region for region in read_regions(path) if len(region.polygon) > 2]
    if ignore_z:
        drawn = [replace(region, z=0) for region in drawn]

    def beside(region: Region, kind: str) -> list[Any]:
        plane = (region.t, region.z)
        return [r.polygon for r in drawn if r.kind == kind and (r.t, r.z) == plane]

    return [
        replace(
            whole,
            region=region.name or f"region {number}",
            t=region.t,
            z=region.z,
            polygon=region.polygon,
            tissue=beside(region, "tissue"),
            exclude=beside(region, "exclude"),
        )
        for number, region in enumerate(drawn, start=1)
        if region.kind in kinds and not region.by_stated
    ]


def _elsewhere(part: Field) -> bool:
    """Whether all dots of a field lie in other planes than its region: nobody looked there."""

    def here(dots: Dots) -> bool:
        return bool(((dots.t == part.t) & (dots.z == part.z)).any())

    return len(part.a) + len(part.b) > 0 and not (here(part.a) or here(part.b))
