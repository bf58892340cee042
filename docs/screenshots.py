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
    blind_sample(IMAGES / "audit-region.png")
    region_sample(IMAGES / "regions.png")
    study_sample(IMAGES)
    learn_sample(IMAGES / "learn.png")
    film_sample(IMAGES / "film.png")


def drawn_film(t: int = 12, z: int = 3, size: int = 320) -> Any:
    """Draw ever more discs ``(t, z, y, x)``, each brightest in one of the z planes."""
    import numpy as np

    rng = np.random.default_rng(4)
    grid = np.arange(20, size - 10, 24)
    places = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    places = rng.permutation(places) + rng.uniform(-5, 5, places.shape)
    depth = rng.integers(0, z, len(places))
    rows, columns = np.mgrid[:size, :size]
    film = rng.normal(100, 8, (t, z, size, size))
    for i in range(t):
        for place, k in zip(places[: 20 + round(3 * i * 1.12**i)], depth, strict=False):
            y, x = place + rng.normal(0, 0.6, 2)
            disc = 1 / (1 + np.exp(np.hypot(rows - y, columns - x) - 6.5))
            for plane in range(z):
                film[i, plane] += disc * (500, 190, 60)[abs(plane - int(k))]
    return film.clip(0, 2000).astype(np.uint16)


def film_sample(path: Path, small: Path | None = None) -> None:
    """Photograph the counts of a drawn film over time, with a time point that was reviewed."""
    import napari
    import napari._qt.qt_main_window as main_window
    import numpy as np

    from celltally._napari.demo import photograph, wait
    from celltally._napari.layers import set_regions, show_regions
    from celltally._napari.planes import key_of
    from celltally._napari.unnamed import PROJECTS
    from celltally.types import Region

    main_window.SHOW_QT_WARNING = False  # its notice would cover the picture
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ[PROJECTS] = folder
        viewer = napari.Viewer(show=False)
        viewer.show()
        wait(lambda: False, 0.3)
        viewer.window.resize(1600, 1000)
        viewer.add_image(drawn_film(), name="film", axis_labels=("t", "z", "y", "x"))
        _, widget = viewer.window.add_plugin_dock_widget("celltally", "Tally")
        wait(lambda: not widget.model.loading, 120)
        names = widget.model.model_box
        names.setCurrentIndex(names.findText("nuclei-fluorescence"))
        wait(lambda: widget.problem() is None, 120)
        widget.image.planes_box.setCurrentText("every time, projection")
        viewer.dims.set_current_step(0, 8)
        widget.count()
        wait(lambda: not widget.running, 600)
        wait(lambda: widget.result.interval is not None, 20)
        layer, plane = widget.image.layer, widget.image.plane()
        corners = np.array([(0, 0), (0, 1), (1, 1), (1, 0)]) * 318 + 0.5
        set_regions(show_regions(viewer, layer, plane), plane, [Region(corners, "reviewed")])
        widget.correcting.catch(key_of(layer))
        wait(lambda: any(point.correction for point in widget.result.points), 20)
        viewer.dims.set_current_step(0, 10)
        wait(lambda: widget.result.curve.now == 10 and not widget.over_time.running, 10)
        wait(lambda: False, 1)
        viewer.reset_view()
        photograph(viewer, path)
        if small is not None:
            viewer.window.resize(1280, 800)
            wait(lambda: False, 0.5)
            viewer.reset_view()
            photograph(viewer, small)
        viewer.close()
    del os.environ[PROJECTS]


def study_sample(folder: Path) -> None:
    """Photograph the table of a small study, and its plot of groups.

    Its images are quarters of two sample images, its plate map is made up.
    """
    import numpy as np

    from celltally._napari.demo import open_sample_window, photograph, wait
    from celltally.project import images
    from celltally.project.edits import Edit, diff_regions
    from celltally.project.remembering import iter_refresh
    from celltally.project.store import Store
    from celltally.project.study_lock import lock, suggested_lock
    from celltally.project.work import record
    from celltally.types import Region

    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_DATA_HOME"] = home
        path = Path(home) / "Seeding test.celltally"
        with Store(path) as store:
            count_quarters(store, Path(home))
            corners = np.array([(0, 0), (0, 1), (1, 1), (1, 0)])
            drawn = [
                Region(corners * (110, 348), "reviewed", name="top"),
                Region(corners * (120, 150) + (60, 100), name="centre"),
            ]
            record(store, 1, Edit("draw", diff_regions((), drawn)))
            list(iter_refresh(store))
            lock(store, suggested_lock(store))
            gone = images.all_images(store)[5]
        gone.path.unlink()
        viewer, _ = open_sample_window((1600, 1000))
        viewer.layers.clear()
        _, study = viewer.window.add_plugin_dock_widget("celltally", "Study")
        study.saving.open(path)
        wait(lambda: bool(study.rows) and not study.busy, 60)
        study.table.step(1)
        wait(lambda: not study.busy, 60)
        wait(lambda: False, 2)
        viewer.reset_view()
        photograph(viewer, folder / "study.png")
        study.show_plots()
        wait(lambda: study.plots.view.picture is not None, 60)
        wait(lambda: not study.plots.view.busy, 60)
        study.plots.grab().save(str(folder / "study-groups.png"))
        study.plots.close()
        study.recount_all()
        window = study.dialog
        wait(lambda: not window.busy, 60)
        rows = range(window.model_box.count())
        other = next(i for i in rows if window.model_box.itemData(i).name == "u2os-hoechst")
        window.model_box.setCurrentIndex(other)
        window.start()
        wait(lambda: not window.busy, 300)
        window.grab().save(str(folder / "study-recount.png"))
        window.leave()
        wait(lambda: study.dialog is None, 60)
        viewer.close()
    del os.environ["XDG_DATA_HOME"]


def learn_sample(path: Path, small: Path | None = None) -> None:
    """Photograph what came of learning from six quarters of two sample images.

    In the place of a person's dots stand those of a model that was made for these cells.
    """
    from celltally._napari.demo import open_sample_window, photograph, wait
    from celltally.learn import finetune

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        os.environ["XDG_DATA_HOME"] = home
        seconds, finetune.SECONDS = finetune.SECONDS, {"cpu": 15.0, "cuda": 2.5}
        viewer, widget = open_sample_window((1600, 1000))
        viewer.layers.clear()
        project = Path(home) / "Seeding test.celltally"
        first = review_quarters(project, Path(home))
        viewer.open(str(first))
        widget.saving.open(project)
        names = widget.model.model_box
        wait(lambda: not widget.model.loading, 120)
        names.setCurrentIndex(names.findText("nuclei-fluorescence"))
        _, learn = viewer.window.add_plugin_dock_widget("celltally", "Learn")
        wait(lambda: learn.material.problem() is None, 60)
        learn.run.run.button.click()
        wait(lambda: not learn.running, 600)
        wait(lambda: False, 1)
        viewer.reset_view()
        photograph(viewer, path)
        if small is not None:
            viewer.window.resize(1280, 800)
            wait(lambda: False, 0.5)
            photograph(viewer, small)
        viewer.close()
        finetune.SECONDS = seconds
    del os.environ["XDG_DATA_HOME"]


def review_quarters(project: Path, folder: Path) -> Path:
    """Make a project of eight quarters, six reviewed and two audited; return the first's file."""
    import numpy as np
    import tifffile

    from celltally import zoo
    from celltally._napari.sample_data import sample_path
    from celltally.density import dots_from_prediction
    from celltally.density.peaks import threshold_for_count
    from celltally.io import read_image
    from celltally.predict import predict
    from celltally.project import images, work
    from celltally.project.edits import Edit, diff_dots, diff_regions
    from celltally.project.store import Store
    from celltally.types import Dots, Region

    model, corners = zoo.load("u2os-hoechst"), np.array([(0, 0), (0, 1), (1, 1), (1, 0)])
    files = []
    with Store(project, author="Ada") as store:
        for i in range(8):
            pixels = read_image(sample_path(f"u2os-hoechst-{1 + i % 2}")).data[:]
            top, left = 260 * (i // 2 // 2), 348 * (i // 2 % 2)
            quarter = pixels[top : top + 260, left : left + 348]
            files.append(folder / f"field_{i + 1}.tif")
            tifffile.imwrite(files[-1], quarter)
            found = predict(model, quarter, diameter_px=26.0)
            dots = dots_from_prediction(found, -np.inf)
            dots = dots[dots.score >= threshold_for_count(dots.score, found.count)]
            state = np.where(np.arange(len(dots)) % 4 == 0, "added", "confirmed").astype(np.str_)
            inner = np.clip(dots.yx, 0, np.array(quarter.shape) - 1.0)
            set_by_hand = Dots.new(inner, state=state)
            kind = "audit" if i in (3, 6) else "reviewed"
            region = Region(corners * (210, 280) + 20, kind)
            number = images.register(
                store, name=files[-1].name, path=files[-1], shape=quarter.shape
            )
            changes = (*diff_dots(Dots.new(), set_by_hand), *diff_regions((), [region]))
            work.record(store, number, Edit("draw", changes))
    return files[0]


def count_quarters(store: Any, folder: Path) -> None:
    """Take quarters of two sample images into a project, and count all but one with one model."""
    import tifffile

    from celltally import zoo
    from celltally._napari.sample_data import sample_path
    from celltally.batch.in_project import iter_count_project
    from celltally.batch.settings import Settings
    from celltally.io import read_image
    from celltally.project import images

    told = {}
    for sample, seeded in (("u2os-hoechst-1", "sparse"), ("u2os-hoechst-2", "dense")):
        pixels = read_image(sample_path(sample)).data[:]
        for quarter in range(4):
            top, left = 260 * (quarter // 2), 348 * (quarter % 2)
            name = f"{'AB'[seeded == 'dense']}{quarter + 1:02d}_s1.tif"
            tifffile.imwrite(folder / name, pixels[top : top + 260, left : left + 348])
            number = images.register(
                store,
                name=name,
                path=folder / name,
                shape=(260, 348),
                pixel_size_um=(0.65, 0.65),
            )
            well, replicate = name[:3], str(quarter + 1)
            told[number] = {"well": well, "condition": seeded, "replicate": replicate}
    images.set_columns(store, told)
    rest = {"channel": None, "plane": {}, "z_stack": "plane", "merge_distance_px": None}
    rest |= {"merge_gap": 0, "level": 0.95, "device": "cpu"}
    models = {"general": [n for n in told if n != 3], "u2os-hoechst": [3]}
    for name, numbers in models.items():
        settings = Settings(diameter_px=30.0, **rest)
        list(iter_count_project(store, zoo.load(name), settings, image_ids=numbers))


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
    from celltally._napari.demo import open_sample_window, photograph, wait

    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_DATA_HOME"] = home
        viewer, _ = open_sample_window((1600, 1000))
        _, audit = viewer.window.add_plugin_dock_widget("celltally", "Calibrate for my microscope")
        audit.setup.source_box.setCurrentIndex(1)
        wait(lambda: audit.problem() is None, 120)
        audit.run.button.click()
        wait(lambda: audit.field is not None, 300)
        set_dots(audit.layers, audit.field)
        wait(lambda: audit.counting.number is not None, 10)
        photograph(viewer, path)
        audit.leave()
        viewer.close()
    del os.environ["XDG_DATA_HOME"]


def blind_sample(path: Path) -> None:
    """Photograph a region of the image in view that is being counted blind, and its result."""
    from celltally._napari import audit_region
    from celltally._napari.demo import count_sample, open_sample_window, photograph, wait

    with tempfile.TemporaryDirectory() as home:
        os.environ["CELLTALLY_PROJECTS"] = home
        audit_region.new_seed = lambda: f"{6:032x}"  # the same region each time
        viewer, widget = open_sample_window((1280, 800))
        count_sample(widget)
        widget.regions.unfold()
        wait(lambda: False, 0.5)
        widget.audit.button.click()
        wait(lambda: widget.audit.drawn is not None, 60)
        set_dots(widget.audit.layers, widget.audit.drawn.shown)
        wait(lambda: widget.audit.section.number is not None, 10)
        photograph(viewer, path)
        widget.audit.section.done_button.click()
        wait(lambda: widget.regions.settled, 60)
        wait(lambda: False, 1)
        widget.bring_into_view(widget.audit.outcome)
        photograph(viewer, path.with_stem(f"{path.stem}-done"))
        viewer.close()
    del os.environ["CELLTALLY_PROJECTS"]


def set_dots(layers: Any, shown: Any) -> None:
    """Set dots as a person might: on what is bright and round in the region that is shown."""
    from scipy import ndimage
    from skimage import feature, filters

    top, left, bottom, right = shown.frame
    smooth = filters.gaussian(shown.pixels, 1, preserve_range=True)
    depth = ndimage.distance_transform_edt(smooth > filters.threshold_otsu(smooth))
    depth = filters.gaussian(depth, 2)
    for y, x in feature.peak_local_max(depth, min_distance=7, exclude_border=False):
        if top <= y < bottom and left <= x < right:
            layers.dots.add([y, x])


if __name__ == "__main__":
    main()
