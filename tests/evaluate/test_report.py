"""The report on a data set: figures against a model whose answers are known."""

import json
import math
from importlib import import_module

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest

from celltally.density import density_map
from celltally.errors import UserError
from celltally.evaluate import report as report_module
from celltally.evaluate.plots import write_plots
from celltally.evaluate.reliability import LEVELS
from celltally.evaluate.report import PER_IMAGE, iter_evaluate
from celltally.progress import drain
from celltally.types import Calibration, Grid, Prediction, Progress

METRICS = (
    *("n", "mae", "rmse", "mre", "bias", "slope", "r2", "coverage", "mean_width"),
    *("interval_score", "precision", "recall", "f1", "match_radius_px"),
)


@pytest.fixture
def diameters(monkeypatch):
    """A fake model that sees every bright pixel; the diameters that it was given."""
    given = []

    def fake(model, pixels, *, diameter_px=None, device="auto", tile=None, image=""):
        given.append(diameter_px)
        yield Progress(1, 1, "counting")
        grid = Grid(pixels.shape[:2])
        density = density_map(np.argwhere(pixels > 100), grid, 1.5)[None]
        return Prediction(
            density=density,
            variance=np.zeros_like(density),
            grid=grid,
            image_shape=pixels.shape[:2],
            diameter_px=diameter_px or 8.0,
            model=model.name,
            model_sha256=model.sha256,
            calibration=Calibration(0.0, 0.0, 1.0, tuple(np.linspace(0, 2, 40)), 40, 40, ""),
            image=image,
        )

    monkeypatch.setattr(import_module("celltally.predict"), "iter_predict", fake)
    return given


SEEN = (4, 6, 9)
TRUE = (4, 8, 9)


@pytest.fixture
def dataset(tmp_path):
    """Three fields; in the second one two of the true cells cannot be seen."""
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    (folder / "dots").mkdir()
    places = [(y, x) for y in (12, 32, 52) for x in (12, 32, 52)]
    for i, (seen, true) in enumerate(zip(SEEN, TRUE, strict=True)):
        image = np.zeros((64, 64), np.uint8)
        for y, x in places[:seen]:
            image[y, x] = 200
        iio.imwrite(folder / "images" / f"{i}.png", image)
        rows = "".join(f"{y},{x + 1}\n" for y, x in places[:true])
        (folder / "dots" / f"{i}.csv").write_text("y,x\n" + rows)
    (folder / "dataset.json").write_text(json.dumps({"name": "fields", "diameter_px": 10}))
    return folder


def test_the_figures_are_those_of_the_design(dataset, tiny, diameters):
    report = drain(iter_evaluate(dataset, model=tiny))
    assert tuple(report.metrics) == METRICS
    figures = report.metrics
    assert figures["n"] == 3
    assert figures["mae"] == pytest.approx(2 / 3, abs=1e-3)
    assert figures["rmse"] == pytest.approx(math.sqrt(4 / 3), abs=1e-3)
    assert figures["bias"] == pytest.approx(-2 / 3, abs=1e-3)
    assert figures["mre"] == pytest.approx(2 / 8 / 3, abs=1e-3)
    assert figures["precision"] == 1
    assert figures["recall"] == pytest.approx(19 / 21)
    assert figures["match_radius_px"] == 5
    assert figures["coverage"] in (2 / 3, 1.0)
    assert figures["mean_width"] > 0


def test_images_without_labels_are_told(dataset, tiny, diameters, tmp_path):
    (dataset / "dots" / "1.csv").unlink()
    report = drain(iter_evaluate(dataset, model=tiny, out=tmp_path / "out"))
    assert report.metrics["n"] == 2
    assert any("1 image in" in note and "has no labels" in note for note in report.notes)


def test_the_files(dataset, tiny, diameters, tmp_path):
    out = tmp_path / "deep" / "report"
    report = drain(iter_evaluate(dataset, model=tiny, out=out, level=0.9))
    written = json.loads((out / "metrics.json").read_text())
    assert {name: written[name] for name in METRICS} == dict(report.metrics)
    assert written["dataset"] == "fields"
    assert written["model"] == "tiny"
    assert written["level"] == 0.9
    assert written["failed"] == 0
    table = pd.read_csv(out / "per_image.csv")
    assert tuple(table.columns) == PER_IMAGE
    assert list(table["image"]) == ["0.png", "1.png", "2.png"]
    assert list(table["true"]) == list(TRUE)
    assert list(table["n_dots"]) == list(SEEN)
    assert table["error"].to_numpy() == pytest.approx([0, -2, 0], abs=1e-3)
    assert table["recall"].to_numpy() == pytest.approx([1, 0.75, 1])
    levels = pd.read_csv(out / "reliability.csv")
    images = levels[levels["of"] == "image"]
    assert list(images["n"]) == [3] * len(LEVELS)
    assert images["observed"].is_monotonic_increasing
    regions = levels[levels["of"] == "region"]
    assert regions["n"].min() == regions["n"].max() > 10
    for name in ("predicted_vs_true", "bland_altman", "interval_widths", "reliability"):
        assert iio.imread(out / f"{name}.png").std() > 5  # something is drawn


@pytest.mark.parametrize(
    ("given", "stated", "used", "words", "radius"),
    [
        (None, 10, 10, "10 px, the data set's", 5),
        ("auto", 10, None, "estimated", 5),
        (20, 10, 20, "20 px, as given", 5),
        (None, None, None, "estimated", 4),
    ],
)
def test_which_diameter_is_used(dataset, tiny, diameters, given, stated, used, words, radius):
    (dataset / "dataset.json").write_text(json.dumps({"name": "fields", "diameter_px": stated}))
    report = drain(iter_evaluate(dataset, model=tiny, diameter=given))
    assert diameters == [used] * 3
    assert words in report.diameter
    assert report.metrics["match_radius_px"] == radius


def test_counts_alone_give_no_figures_of_dots(dataset, tiny, diameters, tmp_path):
    for path in (dataset / "dots").iterdir():
        path.unlink()
    (dataset / "counts.csv").write_text("image,count\n0.png,4\n1.png,8\n2.png,9\n")
    report = drain(iter_evaluate(dataset, model=tiny, out=tmp_path / "out"))
    assert report.metrics["mae"] == pytest.approx(2 / 3, abs=1e-3)
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    for name in ("precision", "recall", "f1", "match_radius_px"):
        assert math.isnan(report.metrics[name])
        assert written[name] is None


def test_an_image_that_fails_is_told_and_left_out(dataset, tiny, diameters):
    (dataset / "images" / "1.png").write_bytes(b"no picture")
    (dataset / "dots" / "2.csv").write_text("nonsense")
    report = drain(iter_evaluate(dataset, model=tiny))
    assert report.failed == 2
    assert report.metrics["n"] == 1
    assert report.metrics["mae"] == pytest.approx(0, abs=1e-3)
    assert list(report.per_image["status"]) == ["ok", "failed", "failed"]
    assert "1.png" in report.per_image["message"][1]
    assert "2.png" in report.per_image["message"][2]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("odd")])
def test_an_image_that_breaks_the_program_does_not_end_the_evaluation(
    dataset, tiny, diameters, monkeypatch, error
):
    real = report_module.read_image

    def read(path):
        if path.name == "1.png":
            raise error
        return real(path)

    monkeypatch.setattr(report_module, "read_image", read)
    report = drain(iter_evaluate(dataset, model=tiny))
    assert list(report.per_image["status"]) == ["ok", "failed", "ok"]
    assert "1.png" in report.per_image["message"][1]


def test_nothing_but_failures_has_no_figures(dataset, tiny, diameters, tmp_path):
    for path in (dataset / "images").iterdir():
        path.write_bytes(b"")
    report = drain(iter_evaluate(dataset, model=tiny, out=tmp_path / "out"))
    assert report.metrics["n"] == 0
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["mae"] is None


def test_progress_comes_after_each_image(dataset, tiny, diameters):
    steps = [step for step in iter_evaluate(dataset, model=tiny) if step.total]
    assert [(step.done, step.total) for step in steps] == [(0, 3), (1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"level": 0}, "level of 0"),
        ({"level": math.nan}, "level of nan"),
        ({"diameter": 0}, "diameter 0 px"),
        ({"diameter": math.inf}, "diameter inf"),
        ({"model": "nobody"}, "nobody"),
        ({"device": "abacus"}, "abacus"),
    ],
)
def test_wrong_arguments(dataset, tiny, diameters, monkeypatch, options, words):
    opened = []
    monkeypatch.setattr(report_module, "read_image", opened.append)
    with pytest.raises(UserError, match=words):
        drain(iter_evaluate(dataset, **{"model": tiny, **options}))
    assert opened == []


def test_a_place_that_cannot_be_written_to(dataset, tiny, diameters):
    with pytest.raises(UserError, match=r"dataset\.json"):
        drain(iter_evaluate(dataset, model=tiny, out=dataset / "dataset.json" / "report"))
    assert diameters == []


def test_without_matplotlib_a_sentence_says_so(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("celltally.evaluate.plots.importlib.import_module", missing)
    (note,) = write_plots(pd.DataFrame(columns=list(PER_IMAGE)), 0.95, tmp_path)
    assert "pip install matplotlib" in note
    assert not list(tmp_path.iterdir())


class FakeFigure:
    """Notes what is drawn, so that the plots are tested without matplotlib."""

    def __init__(self, **options):
        self.calls = []

    def add_subplot(self):
        return self

    def __getattr__(self, name):
        return lambda *values, **options: self.calls.append((name, values, options))

    def savefig(self, path):
        path.write_text(" ".join(name for name, _, _ in self.calls))


def test_plots_are_drawn(dataset, tiny, diameters, tmp_path, monkeypatch):
    table = drain(iter_evaluate(dataset, model=tiny)).per_image

    class Module:
        Figure = FakeFigure

    monkeypatch.setattr("celltally.evaluate.plots.importlib.import_module", lambda name: Module)
    assert write_plots(table, 0.95, tmp_path) == ()
    assert "errorbar" in (tmp_path / "predicted_vs_true.png").read_text()
    assert "scatter" in (tmp_path / "interval_widths.png").read_text()
    (note,) = write_plots(table.assign(ci_low=math.nan), 0.95, tmp_path)
    assert "calibrate" in note


def test_plots_are_pictures(dataset, tiny, diameters, tmp_path):
    pytest.importorskip("matplotlib")
    table = drain(iter_evaluate(dataset, model=tiny)).per_image
    assert write_plots(table, 0.95, tmp_path) == ()
    for name in ("predicted_vs_true.png", "interval_widths.png"):
        picture = iio.imread(tmp_path / name)
        assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 10
