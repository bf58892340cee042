"""The study of unlike images: like ones score high, others low, and the table says so."""

from importlib import import_module
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def unlike(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module("unlike")


@pytest.fixture
def data(dataset_folder, tmp_path):
    """A set of bright cells, and one of dark ones."""
    for name in ("bright", "dark"):
        for part, counts in (("train", (4, 6, 5, 7, 6, 5)), ("val", (4, 7, 5, 6))):
            folder = tmp_path / "data" / name / part
            dataset_folder(name, counts, folder=folder, diameter_px=12.0)
            if name == "dark":
                for path in (folder / "images").iterdir():
                    iio.imwrite(path, 255 - iio.imread(path))
    return tmp_path / "data"


def test_a_line_for_every_set_and_one_for_all(unlike, data, tmp_path, capsys):
    docs = tmp_path / "calibration.md"
    docs.write_text("a\n<!-- unlike, table: begin -->\n<!-- unlike, table: end -->\nb\n")
    words = ["--data", str(data), "--out", str(tmp_path / "out")]
    assert unlike.main([*words, "--docs", str(docs)]) == 0
    table = pd.read_csv(tmp_path / "out" / "unlike.csv").set_index(["known", "set"])
    for name, other in (("bright", "dark"), ("dark", "bright")):
        assert bool(table.loc[(name, name), "own"])
        assert np.isnan(table.loc[(name, name), "auroc"])
        assert table.loc[(name, name), "unlike"] < 0.3
        assert table.loc[(name, other), "auroc"] > 0.9
        assert table.loc[(name, "photographs"), "auroc"] > 0.9
        assert f"| {name} | " in docs.read_text()
    assert not table.loc[("bright, dark", "photographs"), "own"]
    assert "| all | " in docs.read_text()


def test_only_what_is_not_perfect_is_named(unlike):
    assert unlike._but_for({"a": "1.000", "b": "1.000"}, "1.000") == "1.000"
    assert unlike._but_for({"a": "1.000", "b": "0.9"}, "1.000") == "b 0.9, the others 1.000"
    assert unlike._but_for({"b": "0.9"}, "1.000") == "b 0.9"


def test_auroc(unlike):
    assert unlike.auroc(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 1.0
    assert unlike.auroc(np.array([1.0, 4.0]), np.array([1.0, 4.0])) == 0.5


def test_what_cannot_be_judged(unlike, data, tmp_path, capsys):
    words = ["--out", str(tmp_path / "out"), "--data"]
    assert unlike.main([*words, str(tmp_path / "nothing")]) == 2
    assert "holds no set" in capsys.readouterr().err
    assert unlike.main([*words, str(data), "--known", "bright,grey"]) == 2
    assert "no set 'grey'" in capsys.readouterr().err
