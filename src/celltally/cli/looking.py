"""``celltally models``, ``info`` and ``demo``: what there is."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated, Any

import typer

from celltally.cli._options import AsJson
from celltally.cli._output import plain, print_json, print_table
from celltally.cli.tree import print_tree, version_facts
from celltally.errors import UserError
from celltally.lineage import lineages
from celltally.published import PUBLISHED
from celltally.record import CALIBRATION, ModelRecord

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: celltally models --json")(models)
    app.command(epilog="Example: celltally info field_01.tif")(info)
    app.command(epilog="Example: celltally demo")(demo)


def models(
    tree: Annotated[
        bool,
        typer.Option("--tree", help="Show which was made from which, and what it learned from."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the models that ship, and your own."""
    from celltally import zoo

    if tree:
        trees = lineages(zoo.available())
        if as_json:
            print_json([version_facts(version) for version in trees])
        else:
            print_tree(trees)
        return
    rows = [_facts(record) for record in zoo.available()]
    if as_json:
        print_json(rows)
        return
    _print_models([row for row in rows if row["architecture"] is None], "network")
    if published := [row for row in rows if row["architecture"] is not None]:
        print("\nPublished architectures, for comparison:")
        _print_models(published, "architecture")


def _facts(record: ModelRecord) -> dict[str, Any]:
    """Say of a model what ``--json`` tells."""
    architecture = PUBLISHED.get(record.network)
    return {
        "name": record.name,
        "sample": record.sample,
        "diameter_px": record.diameter_px,
        "network": record.network,
        "architecture": None if architecture is None else architecture.name,
        "paper": None if architecture is None else architecture.paper,
        "parameters": record.parameters,
        "calibrated": record.path is not None and (record.path / CALIBRATION).is_file(),
        "sha256": record.sha256,
        "path": str(record.path),
    }


def _print_models(rows: list[dict[str, Any]], network: str) -> None:
    """Print a table of models; ``network`` is the column that says what they are."""
    print_table(
        ("name", "sample", "diameter (px)", network, "parameters", "calibrated", "sha256"),
        [
            (
                row["name"],
                row["sample"],
                f"{row['diameter_px']:g}",
                row[network],
                f"{row['parameters'] or '–'}",
                "yes" if row["calibrated"] else "no",
                row["sha256"][:12],
            )
            for row in rows
        ],
    )


def info(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An image.")],
    as_json: AsJson = False,
) -> None:
    """Say what an image is: axes, channels, cell size."""
    from celltally.diameter import estimate_diameter
    from celltally.io import channel_names, guess_channel, list_scenes, read_image, select_pixels

    image = read_image(file)
    channels = channel_names(image)
    guess = guess_channel(image)
    pixels, sentence = select_pixels(image, channel=guess), "not to be told"
    try:
        diameter = estimate_diameter(pixels)
    except UserError as error:  # what can be told is told all the same
        diameter, sentence = None, str(error)
    facts: dict[str, object] = {
        "image": image.name,
        "axes": image.axes,
        "shape": list(image.data.shape),
        "dtype": str(image.data.dtype),
        "pixel_size_um": None if image.pixel_size_um is None else list(image.pixel_size_um),
        "channels": channels,
        "channel": guess,
        "scenes": list_scenes(file),
        "diameter_px": None if diameter is None else round(diameter, 1),
    }
    if as_json:
        print_json(facts)
        return
    texts = {
        "image": image.name,
        "axes": " ".join(image.axes),
        "shape": " × ".join(str(n) for n in image.data.shape),
        "dtype": str(image.data.dtype),
        "pixel size": "not stated"
        if image.pixel_size_um is None
        else " × ".join(f"{size:g}" for size in image.pixel_size_um) + " µm",
        "channels": ", ".join(channels),
        "channel counted": channels[guess] if isinstance(guess, int) else str(guess or channels[0]),
        "scenes": ", ".join(list_scenes(file)) or "one",
        "cell diameter": sentence if diameter is None else f"about {diameter:.0f} px",
    }
    width = max(map(len, texts))
    for name, text in texts.items():
        print(f"{name:<{width}}  {plain(text)}")


def demo(
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write window.png and counts.csv there and close; build/demo without a screen.",
        ),
    ] = None,
) -> None:
    """Open napari with a sample image and count it."""
    if importlib.util.find_spec("napari") is None:
        raise UserError('the demo needs napari, which is missing: pip install "celltally[all]"')
    try:
        from celltally._napari.demo import run_demo
    except ImportError as error:
        raise UserError(
            f"the demo cannot open a window ({' '.join(str(error).split())}): "
            'pip install "celltally[all]"'
        ) from error
    run_demo(out)
