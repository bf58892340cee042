"""Measure how long the window stands still for one correction of one dot.

An image has 100,000 dots, of which 5,000 are in the layer. Dots are added, moved, removed and
confirmed, and that is undone, as the mouse tool does it. An edit's time is that of the call
(the work, napari's layer, and whoever hears of it), with the processor's time beside it, for a
machine that is busy otherwise; the painting that follows is measured by itself. Needs a screen or
``xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/edit_latency.py``.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

#: Longest median in seconds that passes.
LIMIT = 0.05
DOTS, SHOWN, EDITS = 100_000, 5_000, 50
SIDE = 10_000


def main() -> int:
    """Print a line for each kind of edit; 1 where one is too slow."""
    import napari
    import napari._qt.qt_main_window as main_window
    from qtpy.QtWidgets import QApplication, QWidget

    from celltally._napari.compat import camera
    from celltally._napari.correcting import Correcting
    from celltally._napari.layers import dots_layer
    from celltally._napari.planes import key_of, plane_in_view
    from celltally.project.edits import Work
    from celltally.types import Dots

    main_window.SHOW_QT_WARNING = False
    viewer = napari.Viewer(show=False)
    viewer.show()
    viewer.window.resize(1600, 1000)
    image = viewer.add_image(
        np.zeros((SIDE, SIDE), np.uint8), name="field", contrast_limits=(0, 255)
    )
    viewer.reset_view()
    QApplication.processEvents()
    rng = np.random.default_rng(0)
    # 4,900 dots in the middle, where we look, so that those added fit in; all others around it.
    yx = rng.uniform(0, SIDE, (DOTS, 2))
    inside = SHOWN - EDITS
    yx[:inside] = rng.uniform(0.42 * SIDE, 0.58 * SIDE, (inside, 2))
    around = np.abs(yx[inside:] - SIDE / 2).max(axis=1) < 0.15 * SIDE
    yx[inside:][around, 0] = rng.uniform(0, 0.3 * SIDE, int(around.sum()))
    dots = Dots.new(yx, source="ab" * 32, score=rng.random(DOTS))
    holder = QWidget()
    correcting = Correcting(viewer, holder)
    plane, key = plane_in_view(image, viewer.dims), key_of(image)
    camera(viewer).zoom = 0.5
    camera(viewer).center = (SIDE / 2, SIDE / 2)
    _wait(QApplication, 0.3)
    correcting.set_work(key, Work(dots), plane, 20.0)
    layer = dots_layer(viewer.layers, key)
    viewer.layers.selection.active = layer
    _wait(QApplication, 0.5)
    shown = len(layer.data)
    print(f"{shown} dots in the layer, {len(dots)} in the work")

    def places() -> np.ndarray:
        return rng.uniform(0.45 * SIDE, 0.55 * SIDE, (1, 2))

    def row() -> np.ndarray:
        return rng.integers(0, shown, 1)

    kinds: dict[str, Callable[[], None]] = {
        "add": lambda: correcting.add(key, places()),
        "move": lambda: correcting.move(key, row(), places()),
        "remove": lambda: correcting.remove(key, row()),
        "confirm": lambda: correcting.confirm(key, row()),
        "undo": lambda: correcting.undo(key),
        "redo": lambda: correcting.redo(key),
        "napari's add": lambda: (layer.add(places()[0]), correcting.catch(key)),
        "napari's delete": lambda: (layer.remove(row().tolist()), correcting.catch(key)),
    }
    worst = 0.0
    for name, edit in kinds.items():
        times, paints, works = [], [], []
        for _ in range(EDITS):
            start, busy = time.perf_counter(), time.thread_time()
            edit()
            times.append(time.perf_counter() - start)
            works.append(time.thread_time() - busy)
            start = time.perf_counter()
            QApplication.processEvents()
            paints.append(time.perf_counter() - start)
            _wait(QApplication, 0.06)
        print(
            f"{name:16s} median {_ms(statistics.median(times))} worst {_ms(max(times))} "
            f"({_ms(statistics.median(works))} of processor); "
            f"painted in {_ms(statistics.median(paints))} (worst {_ms(max(paints))})"
        )
        if not name.startswith("napari"):
            worst = max(worst, statistics.median(times))
    correcting.leave()
    correcting.disconnect_viewer()
    viewer.close()
    return int(worst > LIMIT)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:6.1f} ms"


def _wait(app: type, seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        app.processEvents()
        time.sleep(0.005)


if __name__ == "__main__":
    sys.exit(main())
