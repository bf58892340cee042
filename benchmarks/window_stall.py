"""Measure how long the window stands still while 2048 × 2048 pixels are counted.

A timer fires every 10 ms; the longest gap between two firings is the stall. The
first count loads torch and the model, the second does not. Needs a screen or
``xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/window_stall.py``.
"""

from __future__ import annotations

import time

import numpy as np

#: Longest stall in seconds that passes, after the first load.
LIMIT = 0.1


def nuclei(side: int, n: int, radius: float = 13.0) -> np.ndarray:
    """Bright discs on a dark, noisy ground, uint16."""
    rng = np.random.default_rng(0)
    image = rng.normal(300, 20, (side, side)).astype(np.float32)
    reach = int(radius * 2)
    yy, xx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = 900 / (1 + np.exp(np.hypot(yy, xx) - radius))
    for y, x in rng.integers(reach, side - reach, (n, 2)):
        image[y - reach : y + reach + 1, x - reach : x + reach + 1] += disc
    return np.clip(image, 0, 65535).astype(np.uint16)


class Stalls:
    """Longest gap between the firings of a 10 ms timer."""

    def __init__(self) -> None:
        from qtpy.QtCore import QTimer

        self.gaps: list[float] = []
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(10)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.gaps.append(now - self._last)
        self._last = now

    def take(self) -> list[float]:
        """Gaps since the last call, longest first."""
        gaps, self.gaps = sorted(self.gaps, reverse=True), []
        return gaps


def main() -> int:
    import napari
    import napari._qt.qt_main_window as main_window
    from qtpy.QtCore import QEventLoop, QTimer

    from celltally._napari.demo import wait

    def loop_until(done, seconds=600.0):
        """Wait in a real event loop, as napari does."""
        loop, poll = QEventLoop(), QTimer()
        poll.timeout.connect(lambda: loop.quit() if done() else None)
        poll.start(50)
        QTimer.singleShot(int(seconds * 1000), loop.quit)
        getattr(loop, "exec", None)()

    main_window.SHOW_QT_WARNING = False
    viewer = napari.Viewer(show=False)
    viewer.show()
    wait(lambda: False, 0.5)
    viewer.add_image(nuclei(2048, 1500), name="nuclei", contrast_limits=(200, 1500))
    _, widget = viewer.window.add_plugin_dock_widget("celltally", "Tally")
    wait(lambda: not (widget.image.busy or widget.model.loading), 120)
    widget.image.diameter_edit.setValue(26)
    wait(lambda: False, 1.0)
    stalls, longest = Stalls(), 0.0
    for which in ("first count (torch and the model are loaded)", "second count"):
        wait(lambda: False, 0.3)
        stalls.take()
        start = time.perf_counter()
        widget.count_section.count_button.click()
        loop_until(lambda: not widget.running)
        seconds = time.perf_counter() - start
        QTimer.singleShot(300, lambda: None)
        loop_until(lambda s=start, d=seconds: time.perf_counter() - s > d + 0.5)
        gaps = stalls.take()
        longest = gaps[0]
        if widget.result.interval is None:
            print(f"not counted: {widget.count_section.message.text()}")
            return 2
        text = widget.result.count_label.text()
        worst = ", ".join(f"{1000 * g:.0f}" for g in gaps[:4])
        print(f"{which}: {seconds:.1f} s, {text}; longest stalls {worst} ms")
    viewer.close()
    print(f"after the first load: {1000 * longest:.0f} ms (limit {1000 * LIMIT:.0f} ms)")
    return int(longest > LIMIT)


if __name__ == "__main__":
    raise SystemExit(main())
