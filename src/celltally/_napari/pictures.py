"""Plots as pixels, drawn beside the window with matplotlib. Free of Qt."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celltally.errors import UserError
from celltally.types import Progress

__all__ = [
    "NO_MATPLOTLIB",
    "PAPER",
    "Ink",
    "Paint",
    "Picture",
    "axes_in",
    "colour_words",
    "picture_job",
    "save_job",
]

NO_MATPLOTLIB = "plots need matplotlib: pip install matplotlib"
#: Inches and pixels per inch of what is saved.
_SAVED = (5.5, 4.0)
_SAVED_DPI = 200


@dataclass(frozen=True)
class Ink:
    """Colours of the ground, and of lines and words."""

    ground: str
    words: str


#: Of what is saved.
PAPER = Ink("#ffffff", "#111111")
#: Draws into a figure of matplotlib, and says what is drawn.
Paint = Callable[[Any, Ink], str]


@dataclass(frozen=True, eq=False)
class Picture:
    """RGBA pixels, their width and height, and a sentence on what is drawn."""

    pixels: bytes
    width: int
    height: int
    said: str


def picture_job(
    paint: Paint, size: tuple[int, int], dpi: float, ink: Ink
) -> Generator[Progress, None, Picture]:
    """Draw something to be shown.

    Parameters
    ----------
    paint
        Draws it.
    size
        Width and height in pixels.
    dpi
        Pixels per inch: how large its letters are.

    Raises
    ------
    UserError
        When there is no matplotlib.
    """
    yield Progress(0, 0, "drawing")
    figure = _figure((size[0] / dpi, size[1] / dpi), dpi)
    yield Progress(0, 0, "drawing")
    said = paint(figure, ink)
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    return Picture(bytes(canvas.buffer_rgba()), width, height, said)


def save_job(paint: Paint, path: Path) -> Generator[Progress, None, str]:
    """Save something on white: PNG, SVG or PDF, as the suffix says.

    Raises
    ------
    UserError
        When it cannot be written.
    """
    yield Progress(0, 0, "drawing")
    from celltally.io._files import write_atomically

    suffix = path.suffix.lower().lstrip(".")
    if suffix not in ("png", "svg", "pdf"):
        raise UserError(f"{path.name} is no picture that can be written; end it in .png or .svg")
    figure = _figure(_SAVED, _SAVED_DPI)
    paint(figure, PAPER)
    content = io.BytesIO()
    figure.savefig(content, format=suffix)
    write_atomically(path, content.getvalue())
    return f"Saved {path.name}."


def _figure(inches: tuple[float, float], dpi: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError(NO_MATPLOTLIB) from None
    return Figure(figsize=inches, dpi=dpi, layout="constrained")


def axes_in(figure: Any, ink: Ink) -> Any:
    """Add axes to a figure, in the colours of the ink, open above and on the right."""
    figure.set_facecolor(ink.ground)
    axes = figure.add_subplot()
    axes.set_facecolor(ink.ground)
    axes.tick_params(colors=ink.words)
    for side, spine in axes.spines.items():
        spine.set_color(ink.words)
        spine.set_visible(side in ("left", "bottom"))
    return axes


def colour_words(axes: Any, ink: Ink) -> None:
    """Give the words of axes, and lines that were drawn in black, the colour of the ink."""
    legend = axes.get_legend()
    words = [axes.xaxis.label, axes.yaxis.label, *(legend.get_texts() if legend else ())]
    lines = [*axes.lines, *(legend.get_lines() if legend else ())]
    for part in (*words, *(line for line in lines if line.get_color() == "black")):
        part.set_color(ink.words)
