"""``celltally explain``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celltally.cli._options import AsJson, Channel, Device, Diameter, ModelName
from celltally.cli._output import INTERRUPTED, follow, print_json, print_table, say
from celltally.cli.counting import parse_channel, parse_plane
from celltally.errors import UserError

if TYPE_CHECKING:
    from celltally.explain.overview import Overview
    from celltally.model import Model

__all__ = ["register"]

BOXES, CONTRIBUTIONS, GALLERY = "boxes.csv", "contributions.csv", "gallery.png"
#: How our files begin, which a later run may replace.
_OURS = {
    BOXES: b"prototype,kind,y0,x0,y1,x1,similarity",
    CONTRIBUTIONS: b"prototype,kind,weight,contribution",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: celltally explain field_01.tif --model general --out why/")(
        explain
    )


def explain(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="An image.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help=f"Folder for {BOXES}, {CONTRIBUTIONS}, {GALLERY}.")
    ],
    model: ModelName = "general",
    diameter: Diameter = None,
    channel: Channel = None,
    plane: Annotated[
        str | None,
        typer.Option(
            metavar="t=0,z=3",
            help="Plane of a stack; the first time point and the middle z if left out.",
        ),
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(
            metavar="Y,X",
            help="A place in pixels whose density is explained as well; may be repeated.",
        ),
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Say why an image's count is what it is: what each prototype adds to it, and where.

    For models with prototypes ('tally' and 'countxplain'). Their contributions and the bias
    add up to the count, and those at a place to the density there.
    """
    from celltally import zoo
    from celltally.diameter import check_diameter
    from celltally.record import read_record

    places = [_parse_place(text) for text in at or []]
    chosen, asked = parse_plane(plane), parse_channel(channel)
    if diameter is not None and (problem := check_diameter(diameter)):
        raise UserError(f"{problem}, or leave it out to have it estimated")
    if not image.exists():
        raise UserError(f"there is no image {image}; give the path of one")
    read_record(zoo.find(model))
    _check_replaceable(out, image)
    with _folder(out):
        from celltally.explain.overview import iter_overview
        from celltally.explain.similarity import check_prototypes
        from celltally.io import read_image, select_pixels
        from celltally.predict import resolve_device

        resolve_device(device)
        loaded = zoo.load(model)
        check_prototypes(loaded)
        pixels = select_pixels(read_image(image), channel=asked, plane=chosen)
        job = iter_overview(
            loaded, pixels, places=places, diameter_px=diameter, device=device, image=image.name
        )
        try:
            found = follow(job, "explaining", lambda draw, step: draw(step, step.message))
        except KeyboardInterrupt:
            say("Stopped; nothing was written.")
            raise typer.Exit(INTERRUPTED) from None
        counting = loaded.counting(found.appearance)
        notes = (*found.notes, *_write(out, found, counting, places))
    _print(found, out, places, as_json)
    for note in notes:
        say(note)
    if not found.boxes:
        say("Nothing in this image is like a prototype, so there are no boxes.")


def _parse_place(text: str) -> tuple[float, float]:
    """Turn ``120,80.5`` into ``(120.0, 80.5)``."""
    try:
        y, x = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--at {text} is no place: give y,x in pixels, such as 120,80") from None
    return y, x


def _check_replaceable(out: Path, image: Path) -> None:
    """Refuse to write over anything that this command did not write itself."""
    for name in (BOXES, CONTRIBUTIONS, GALLERY):
        file = out / name
        if os.path.lexists(file) and (file.resolve() == image.resolve() or not _is_ours(file)):
            raise UserError(
                f"{file} exists and was not written by explaining; choose another folder"
            )


def _is_ours(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        head = stream.read(4096)
    if file.name == GALLERY:
        return head.startswith(b"\x89PNG") and b"Software\0celltally" in head
    return head.startswith(_OURS[file.name])


@contextmanager
def _folder(out: Path) -> Iterator[None]:
    """Make the folder for the results; where they do not come about it goes again."""
    from celltally.batch.outputs import make_folder

    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    make_folder(out)
    try:
        yield
    except BaseException:
        for folder in made:
            with suppress(OSError):  # somebody has put something there
                folder.rmdir()
        raise


def _write(
    out: Path, found: Overview, model: Model, places: list[tuple[float, float]]
) -> tuple[str, ...]:
    """Write all files, or none; sentences for the user."""
    import pandas as pd

    from celltally.explain.boxes import Box
    from celltally.explain.contributions import contributions_table
    from celltally.explain.gallery import training_patches, write_gallery

    kinds = found.contributions.kinds
    trained = [training_patches(record, model.pictures) for record in model.prototypes]
    trained += [()] * (len(kinds) - len(trained))
    rows = [own or image for own, image in zip(trained, found.patches, strict=True)]
    title = (
        f"Prototypes of the model {model.name}, and the similarity to each: training patches,\n"
        f"or, where these may not be shown, the patches of {found.image} that are most like it.\n"
        "A ring is a cell diameter wide, around the place itself; the rest is its surroundings."
    )
    table = contributions_table(
        found.contributions, found.bias, list(zip(places, found.at, strict=True))
    )
    try:
        with tempfile.TemporaryDirectory(dir=out, prefix=".explain-") as name:
            fresh = Path(name)
            columns = [field.name for field in fields(Box)]
            boxes = pd.DataFrame([asdict(box) for box in found.boxes], columns=columns)
            boxes.to_csv(fresh / BOXES, index=False)
            table.to_csv(fresh / CONTRIBUTIONS, index=False)
            notes = write_gallery(
                fresh / GALLERY, rows, kinds, title, new=model.record.new_prototypes
            )
            for file in sorted(fresh.iterdir()):
                file.replace(out / file.name)
    except OSError as error:
        raise UserError(
            f"the explanation cannot be written to {out} ({str(error.strerror).lower()}); choose "
            "another folder"
        ) from None
    return notes


def _print(found: Overview, out: Path, places: list[tuple[float, float]], as_json: bool) -> None:
    parts, numbers = found.contributions, [box.prototype for box in found.boxes]
    if as_json:
        rows: list[dict[str, Any]] = [
            {
                "prototype": k,
                "kind": kind,
                "weight": float(parts.weights[k]),
                "contribution": float(parts.values[k]),
                "boxes": numbers.count(k),
            }
            for k, kind in enumerate(parts.kinds)
        ]
        print_json(
            {
                "image": found.image,
                "model": found.model,
                "model_sha256": found.model_sha256,
                "diameter_px": found.diameter_px,
                "count": max(parts.total, 0.0),
                "bias": parts.bias,
                "prototypes": rows,
                "at": [
                    {"y": y, "x": x, "density": there.total, "bias": there.bias,
                     "contributions": there.values.tolist()}
                    for (y, x), there in zip(places, found.at, strict=True)
                ],
                "path": str(out),
            }
        )  # fmt: skip
        return
    print_table(
        ("prototype", "kind", "boxes", "contribution (cells)"),
        [
            *(
                (f"p{k}", kind, f"{numbers.count(k)}", f"{parts.values[k]:+.2f}")
                for k, kind in enumerate(parts.kinds)
            ),
            ("", "bias", "", f"{parts.bias:+.2f}"),
            ("", "sum", f"{len(numbers)}", f"{parts.total:.2f}"),
        ],
    )
