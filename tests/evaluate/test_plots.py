"""Several systems side by side. (The plots of one evaluation are tested with the report.)"""

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest

from celltally.evaluate.plots import write_comparison

GOOD = pd.DataFrame(
    {"true": [3, 8], "count": [4, 7], "ci_low": [2, np.nan], "ci_high": [6, np.nan]}
).assign(status="ok")


def test_a_panel_for_each_system(tmp_path):
    pytest.importorskip("matplotlib")
    without = GOOD.assign(ci_low=np.nan, ci_high=np.nan)
    widths = []
    for tables in ({"a": GOOD}, {"a": GOOD, "b": without, "c": GOOD.assign(status="failed")}):
        assert write_comparison(tables, 0.95, tmp_path / "plot.png") == ()
        picture = iio.imread(tmp_path / "plot.png")
        assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 10
        widths.append(picture.shape[1])
    assert widths[1] == 2 * widths[0]


def test_a_sentence_says_why_there_is_none(tmp_path, monkeypatch):
    path = tmp_path / "plot.png"
    pytest.importorskip("matplotlib")
    (note,) = write_comparison({"a": GOOD.assign(status="failed")}, 0.95, path)
    assert "plot.png" in note

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("celltally.evaluate.plots.importlib.import_module", missing)
    (note,) = write_comparison({"a": GOOD}, 0.95, path)
    assert "pip install matplotlib" in note
    assert not path.exists()
