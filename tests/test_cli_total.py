"""``celltally total``: the total of a study from counts and audits."""

from __future__ import annotations

import json

import numpy as np
import pytest

from celltally.cli import run
from celltally.intervals import audited_total


@pytest.fixture
def study(tmp_path):
    """A table of 12 images in 4 wells, of which two wells were counted by hand."""
    rng = np.random.default_rng(0)
    predicted = rng.uniform(50, 90, 12).round(1)
    rows = [f"w{i // 3}_{i}.tif,{n},ok,w{i // 3}" for i, n in enumerate(predicted)]
    (tmp_path / "counts.csv").write_text("\n".join(["image,count,status,well", *rows]) + "\n")
    hand = {f"w{i // 3}_{i}.tif": round(predicted[i] * 1.1) for i in (0, 1, 2, 9, 10, 11)}
    lines = [f"{name},{n}" for name, n in hand.items()]
    (tmp_path / "audits.csv").write_text("\n".join(["image,count", *lines, "w1_3.tif,"]) + "\n")
    return tmp_path, predicted, hand


def call(folder, *more):
    return run(["total", str(folder / "counts.csv"), str(folder / "audits.csv"), *more])


def test_the_total_is_the_library_s(study, capsys):
    folder, predicted, hand = study
    assert call(folder, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    names = [f"w{i // 3}_{i}.tif" for i in range(12)]
    wanted = audited_total(predicted, [hand.get(name, np.nan) for name in names])
    assert told["total"] == pytest.approx(wanted.total)
    assert (told["low"], told["high"]) == pytest.approx((wanted.low, wanted.high))
    assert (told["units"], told["audited"], told["level"]) == (12, 6, 0.95)


def test_groups_and_levels(study, capsys):
    folder, *_ = study
    assert call(folder, "--group", "well", "--level", "0.8") == 0
    out, err = capsys.readouterr()
    assert "80 % interval" in out
    assert "2 of 4 groups (well)" in out
    assert err == "The interval is a rough guide: it is from 2 audited groups only.\n"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: (f / "audits.csv").write_text("image,count\nw0_0.tif,9\n"), "1 audited image"),
        (lambda f: (f / "audits.csv").write_text("image,count\nnew.tif,9\n"), "count of 'new.tif'"),
        (lambda f: (f / "audits.csv").write_text("image,count\nw0_0.tif,many\n"), "'many' as the"),
        (lambda f: (f / "audits.csv").write_text("image,count\nw0_0.tif,nan\n"), "'nan' as the"),
        (lambda f: (f / "audits.csv").write_text("image,count\nw0_0.tif,-3\n"), "'-3' as the"),
        (lambda f: (f / "audits.csv").write_text("name,n\na,9\n"), "no column 'image'"),
        (lambda f: (f / "audits.csv").write_text("image,count\n"), "has no rows"),
        (lambda f: (f / "audits.csv").unlink(), "does not exist"),
        (
            lambda f: (f / "audits.csv").write_text("image,count\nw0_0.tif,9\nw0_0.tif,8\n"),
            "'w0_0.tif' 2 times",
        ),
        (
            lambda f: (f / "counts.csv").write_text(
                "image,count,status\nw0_0.tif,4,ok\nw0_1.tif,,failed\n"
            ),
            "not in|w0_1.tif could not be counted",
        ),
        (lambda f: (f / "counts.csv").write_bytes(b"\xff\xfe\x00"), "cannot be read"),
    ],
)
def test_tables_that_say_nothing(study, capsys, change, words):
    folder, *_ = study
    change(folder)
    assert call(folder) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert any(part in err for part in words.split("|"))


def test_a_failed_image_is_named(study, capsys):
    folder, *_ = study
    (folder / "counts.csv").write_text("image,count,status\na,4,ok\nb,,failed\n")
    (folder / "audits.csv").write_text("image,count\na,4\nb,3\n")
    assert call(folder) == 2
    assert "b could not be counted" in capsys.readouterr().err


def test_an_image_of_no_group_is_named(study, capsys):
    folder, *_ = study
    table = folder / "counts.csv"
    table.write_text(table.read_text().replace(",w2\n", ",\n"))
    assert call(folder, "--group", "well") == 2
    assert "names no well of w2_6.tif" in capsys.readouterr().err


def test_a_group_that_is_no_column(study, capsys):
    folder, *_ = study
    assert call(folder, "--group", "slide") == 2
    assert "no column 'slide'; it has image, count, status, well" in capsys.readouterr().err
