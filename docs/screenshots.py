"""Make the pictures of the documentation, in docs/images.

Run it where there is a screen, or with
``xvfb-run -a -s "-screen 0 1600x1000x24" python docs/screenshots.py``.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

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
    viewer.layers.remove("u2os-hoechst-1 saliency")
    names = widget.model.model_box  # the pixels of this model's training images may be shown
    names.setCurrentIndex(names.findText("nuclei-fluorescence"))
    count_sample(widget)
    explain_sample(viewer, explain, IMAGES / "explain.png")
    viewer.close()

    viewer, widget = open_sample_window((1600, 1000), "fluorescent-nuclei")
    count_sample(widget)
    photograph(viewer, IMAGES / "small-nuclei.png")
    viewer.close()
    audit_sample(IMAGES / "calibrate.png")
    region_sample(IMAGES / "regions.png")


def region_sample(path: Path) -> None:
    """Photograph regions of several kinds and shapes, and what is in them."""
    import numpy as np

    from celltally._napari.controls import Column
    from celltally._napari.demo import count_sample, open_sample_window, photograph, wait
    from celltally._napari.layers import show_regions
    from celltally.types import Region

    viewer, widget = open_sample_window((1600, 1000))
    count_sample(widget)
    widget.image.pixel_edit.setValue(0.65)
    corners = np.array([(0, 0), (0, 1), (1, 1), (1, 0)])
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    blob = np.stack(
        [
            364 + 94 * (1 + 0.25 * np.sin(3 * turn)) * np.sin(turn),
            209 + 139 * (1 + 0.2 * np.cos(2 * turn)) * np.cos(turn),
        ],
        axis=1,
    )
    regions = [
        Region(corners * (166, 244) + (42, 70)),
        Region(blob),
        Region(corners * (182, 209) + (104, 418), name="centre"),
        Region(corners * (104, 174) + (390, 487), "exclude"),
    ]
    show_regions(viewer, widget.image.layer, widget.image.plane(), regions)
    widget.regions.unfold()
    wait(lambda: widget.regions.correction is not None, 60)
    wait(lambda: False, 1)
    column = widget.findChild(Column).parentWidget().parentWidget()
    column.verticalScrollBar().setValue(column.verticalScrollBar().maximum())
    viewer.reset_view()
    photograph(viewer, path)
    viewer.close()


def explain_sample(viewer: Any, explain: Any, path: Path) -> None:
    """Photograph the boxes of the prototype that adds most, and why a dot is there."""
    from celltally._napari.compat import camera
    from celltally._napari.demo import photograph, wait

    wait(lambda: explain.explainer.known.prototypes is not None, 120)
    explain.gallery.run.button.click()
    wait(lambda: explain.explainer.known.overview is not None, 300)
    viewer.layers["u2os-hoechst-1 density"].visible = False
    viewer.reset_view()
    camera(viewer).zoom *= 1.8
    explain.gallery.choose(int(explain.explainer.known.overview.contributions.values.argmax()))
    dots = viewer.layers["u2os-hoechst-1 dots"].data
    middle = dots[((dots - [260, 348]) ** 2).sum(axis=1).argmin()]
    explain.contributions.show_place(tuple(middle.tolist()), dot=True)
    wait(lambda: False, 3)
    photograph(viewer, path)


def audit_sample(path: Path) -> None:
    """Photograph a region that is being counted; the answers go to a folder that is thrown away."""
    from scipy import ndimage
    from skimage import feature, filters

    from celltally._napari.demo import open_sample_window, photograph, wait

    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_DATA_HOME"] = home
        viewer, _ = open_sample_window((1600, 1000))
        _, audit = viewer.window.add_plugin_dock_widget("celltally", "Calibrate for my microscope")
        audit.setup.source_box.setCurrentIndex(1)
        wait(lambda: audit.problem() is None, 120)
        audit.run.button.click()
        wait(lambda: audit.field is not None, 300)
        top, left, bottom, right = audit.field.frame
        smooth = filters.gaussian(audit.field.pixels, 1, preserve_range=True)
        depth = ndimage.distance_transform_edt(smooth > filters.threshold_otsu(smooth))
        depth = filters.gaussian(depth, 2)
        for y, x in feature.peak_local_max(depth, min_distance=7, exclude_border=False):
            if top <= y < bottom and left <= x < right:
                audit.layers.dots.add([y, x])
        wait(lambda: audit.counting.number is not None, 10)
        photograph(viewer, path)
        audit.leave()
        viewer.close()
    del os.environ["XDG_DATA_HOME"]


if __name__ == "__main__":
    main()
