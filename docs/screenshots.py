"""Make the pictures of the documentation, in docs/images.

Run it where there is a screen, or with
``xvfb-run -a -s "-screen 0 1600x1000x24" python docs/screenshots.py``.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("NAPARI_CONFIG", "")  # no saved settings change the pictures

IMAGES = Path(__file__).parent / "images"


def main() -> None:
    from celltally._napari.demo import count_sample, open_sample_window, photograph, wait

    IMAGES.mkdir(exist_ok=True)
    viewer, widget = open_sample_window((1600, 1000))
    wait(lambda: widget.problem() is None, 120)
    widget.image.ring_box.setChecked(True)
    photograph(viewer, IMAGES / "before-counting.png")
    widget.image.ring_box.setChecked(False)
    count_sample(widget)
    photograph(viewer, IMAGES / "tally.png")
    viewer.window.resize(1280, 800)
    wait(lambda: False, 0.5)
    viewer.reset_view()
    photograph(viewer, IMAGES / "tally-small.png")
    viewer.window.resize(1600, 1000)
    _, explain = viewer.window.add_plugin_dock_widget("celltally", "Explain")
    wait(lambda: explain.subject.subject is not None, 10)
    explain.saliency.run.button.click()
    wait(lambda: not explain.saliency.running, 300)
    viewer.reset_view()
    photograph(viewer, IMAGES / "saliency.png")
    viewer.close()

    viewer, widget = open_sample_window((1600, 1000), "fluorescent-nuclei")
    count_sample(widget)
    photograph(viewer, IMAGES / "small-nuclei.png")
    viewer.close()


if __name__ == "__main__":
    main()
