"""The demo: napari with a real image, counted by a model that ships."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from celltally._napari.unnamed import PROJECTS
from celltally.batch import read_counts
from celltally.batch.outputs import make_folder
from celltally.errors import UserError

__all__ = [
    "canvas_is_drawn",
    "count_sample",
    "open_sample_window",
    "photograph",
    "run_demo",
    "wait",
]

SAMPLE = "u2os-hoechst-1"
SIZE = (1600, 1000)
#: Longest that a step may take, in seconds; a slow disk loads torch in a minute.
PATIENCE = 300.0
#: Projects of windows that are for pictures; they go with the program.
_folders: list[TemporaryDirectory[str]] = []


def run_demo(out: Path | None = None) -> None:
    """Open napari with a sample image, count it, and show the result.

    Parameters
    ----------
    out
        Folder for ``window.png`` and ``counts.csv``; the window then closes by
        itself. Without one the window stays open, or, where there is no screen,
        ``build/demo`` is written on a virtual one.

    Raises
    ------
    UserError
        When the count fails, the window cannot be drawn, there is neither a
        screen nor a virtual one, or the folder holds a table of something else.
    """
    if out is not None:
        _check_out(out)
    if _without_screen():
        _on_virtual_screen(out or Path("build/demo"))
        return
    import napari

    viewer, widget = open_sample_window(SIZE if out is not None else None)
    try:
        count_sample(widget)
        if out is None:
            napari.run()
            return
        photograph(viewer, out / "window.png")
        (out / "counts.csv").unlink(missing_ok=True)
        widget.save_counts(str(out / "counts.csv"))
    finally:
        if out is not None:
            viewer.close()
    for name in ("window.png", "counts.csv"):
        if not (out / name).is_file():
            raise UserError(f"{out / name} could not be written; choose another folder")


def _check_out(out: Path) -> None:
    """Make the folder, and refuse one whose ``counts.csv`` is not an earlier demo's."""
    make_folder(out)
    table = out / "counts.csv"
    if table.exists() and any(not row["image"].startswith(SAMPLE) for row in read_counts(table)):
        raise UserError(f"{table} holds counts of other images; choose another folder")


def open_sample_window(
    size: tuple[int, int] | None = None, sample: str = SAMPLE
) -> tuple[Any, Any]:
    """Open napari with a sample image and the Tally widget: (viewer, widget).

    In a window of a certain size, which is for a picture, nothing of earlier ones is shown,
    and nothing is kept.
    """
    import napari
    import napari._qt.qt_main_window as main_window

    main_window.SHOW_QT_WARNING = False  # its notice would cover the picture
    viewer = napari.Viewer(show=False)
    viewer.show()
    wait(lambda: False, 0.3)
    if size is not None:  # the first show sets a size of its own
        viewer.window.resize(*size)
        _folders.append(TemporaryDirectory(ignore_cleanup_errors=True))
        os.environ[PROJECTS] = _folders[-1].name
    viewer.open_sample("celltally", sample)
    _, widget = viewer.window.add_plugin_dock_widget("celltally", "Tally")
    wait(lambda: False, 0.5)
    viewer.reset_view()
    return viewer, widget


def count_sample(widget: Any) -> None:
    """Press *Count* as soon as it can be pressed, and wait for the result.

    Raises
    ------
    UserError
        When nothing can be counted, or the count fails.
    """
    if not wait(lambda: widget.problem() is None, PATIENCE):
        raise UserError(f"the demo cannot count: {widget.problem()}")
    widget.count_section.count_button.click()
    wait(lambda: not widget.running, PATIENCE)
    if widget.result.interval is None:
        raise UserError(f"the demo could not count: {widget.count_section.message.text()}")
    wait(lambda: False, 0.5)


def photograph(viewer: Any, path: Path) -> None:
    """Save a picture of the whole window.

    Raises
    ------
    UserError
        When the canvas stayed black: there is no working OpenGL.
    """
    wait(lambda: False, 0.5)
    if not canvas_is_drawn(viewer.screenshot(canvas_only=True, flash=False)):
        raise UserError(
            "the image was not drawn: OpenGL does not work here; "
            "install Mesa's software OpenGL (libgl1-mesa-dri)"
        )
    viewer.screenshot(path=str(path), canvas_only=False, flash=False)


def canvas_is_drawn(picture: np.ndarray) -> bool:
    """Whether a picture ``(H, W, 3 or 4)`` shows more than an empty canvas."""
    colours = np.unique(picture[..., :3].reshape(-1, 3), axis=0)
    return len(colours) > 16


def wait(done: Callable[[], bool], seconds: float) -> bool:
    """Let the window live until something is so, or the time is over; whether it is so."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        QApplication.processEvents()
        time.sleep(0.01)
    return True


def _without_screen() -> bool:
    return sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def _on_virtual_screen(out: Path) -> None:
    xvfb = shutil.which("xvfb-run")
    if xvfb is None:
        raise UserError(
            "there is no screen here; install xvfb (apt-get install xvfb xauth), "
            "or run the demo where there is one"
        )
    # Qt's own offscreen platform has no OpenGL and would draw an empty canvas.
    environment = {k: v for k, v in os.environ.items() if k != "QT_QPA_PLATFORM"}
    environment["NAPARI_CONFIG"] = ""  # no saved settings change the picture
    screen = f"-screen 0 {SIZE[0]}x{SIZE[1]}x24"
    command = [xvfb, "-a", "-s", screen, sys.executable, "-m", __name__, str(out)]
    if subprocess.run(command, env=environment, check=False).returncode != 0:
        raise UserError("the demo failed on the virtual screen; its messages stand above")


if __name__ == "__main__":
    try:
        run_demo(Path(sys.argv[1]))
    except UserError as error:
        sys.exit(f"Error: {error}")
