"""The study of intervals: coverage per set and per size of rectangle, from real counts."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from celltally.learn.calibrate import calibrate_on
from celltally.learn.data import read_dataset
from celltally.progress import drain

pytest.importorskip("matplotlib")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module("interval_coverage")


@pytest.fixture
def data(dataset_folder, tmp_path):
    for name, labels in (("dotted", "dots"), ("counted", "counts")):
        folder = tmp_path / "data" / name / "val"
        dataset_folder(name, (4, 7, 5), folder=folder, labels=labels)
    return tmp_path / "data"


def test_tables_and_plots(study, data, tiny_model, dataset_folder, tmp_path, capsys):
    dataset = read_dataset(dataset_folder("cal", (3, 6, 4, 8)))
    pairs = [(dataset, sample) for sample in dataset.samples]
    model = drain(calibrate_on(tiny_model, pairs, device="cpu")).save(tmp_path / "model")
    docs = tmp_path / "docs" / "calibration.md"
    docs.parent.mkdir()
    marks = [f"interval coverage, {name}" for name in ("images", "rectangles")]
    docs.write_text("".join(f"<!-- {m}: begin -->\n<!-- {m}: end -->\n" for m in marks))
    words = ["--data", str(data), "--model", str(model.record.path), "--device", "cpu"]
    assert study.main([*words, "--out", str(tmp_path / "out"), "--docs", str(docs)]) == 0
    images = pd.read_csv(tmp_path / "out" / "images.csv")
    assert images.groupby("set").size().to_dict() == {"counted": 3, "dotted": 3}
    inside = images["true"].between(images["ci_low"], images["ci_high"])
    assert (inside == images["inside"]).all()
    rectangles = pd.read_csv(tmp_path / "out" / "rectangles.csv")
    assert set(rectangles["set"]) == {"dotted"}
    assert f"| dotted | 3 | {inside[images['set'] == 'dotted'].sum()} (" in docs.read_text()
    assert "| all | 6 | " in docs.read_text()
    pictures = {path.name for path in (docs.parent / "images" / "intervals").iterdir()}
    assert {"reliability.png", "bland_altman.png", "interval_widths.png"} <= pictures


def test_the_best_constant_width_knows_the_truth(study):
    rows = pd.DataFrame({"true": [10.0, 20.0, 30.0], "count": [11.0, 20.0, 27.0]})
    # Wide enough for all: a miss costs 40 times its distance.
    assert study.best_constant(rows) == pytest.approx(6.0)


def test_images_are_drawn_anew_not_rectangles(study):
    inside = np.array([True] * 50 + [False] * 50)
    alone = study.bootstrap(inside, np.array([str(i) for i in range(100)], dtype=object))
    together = study.bootstrap(inside, np.array(["a"] * 50 + ["b"] * 50, dtype=object))
    assert together == (0.0, 1.0)
    assert 0.3 < alone[0] < 0.5 < alone[1] < 0.7


def test_what_cannot_be_judged(study, data, tiny_model, tmp_path, capsys):
    plain = tiny_model.save(tmp_path / "plain").record.path
    words = ["--out", str(tmp_path / "out"), "--model", str(plain), "--data"]
    assert study.main([*words, str(data)]) == 2
    assert "calibrate it first" in capsys.readouterr().err
    assert study.main([*words, str(tmp_path)]) == 2
    assert "holds no set" in capsys.readouterr().err
