"""``celltally project suggest``: which regions of a study are worth a review next."""

from __future__ import annotations

import json
from dataclasses import replace

import imageio.v3 as iio
import numpy as np
import pytest

from celltally import zoo
from celltally.batch import suggesting
from celltally.batch.suggesting import Seen, iter_suggest
from celltally.cli import run
from celltally.errors import UserError
from celltally.model import Model
from celltally.progress import drain
from celltally.project.edits import Edit, diff_regions
from celltally.project.images import all_images, register
from celltally.project.store import Store
from celltally.project.work import record
from celltally.types import Region

SHAPE = (96, 160)


@pytest.fixture(autouse=True)
def _own_models(tiny, monkeypatch):
    monkeypatch.setattr(zoo, "user_models_dir", lambda: tiny.parent)
    monkeypatch.setattr(zoo, "shipped_models_dir", lambda: tiny.parent / "none")


@pytest.fixture
def project(tmp_path, draw_cells, scatter, capsys):
    """Three images: an empty one, one with few cells, one with many."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, n in (("empty", 0), ("few", 4), ("many", 40)):
        iio.imwrite(folder / f"{name}.png", draw_cells(scatter(n, SHAPE, rng), SHAPE, rng=rng))
    path = tmp_path / "study.celltally"
    assert run(["project", "new", str(path)]) == 0
    assert run(["project", "add", str(path), str(folder)]) == 0
    capsys.readouterr()
    return path


@pytest.fixture
def suggest(project, capsys):
    """Run the command: status, what it printed, what it said."""

    def call(*arguments: object) -> tuple[int, str, str]:
        options = ["--side", "80", "--device", "cpu", *map(str, arguments)]
        status = run(["project", "suggest", str(project), *options])
        output = capsys.readouterr()
        return status, output.out, output.err

    return call


def review(path, name, kind="reviewed", corners=((-1, -1), (-1, 160), (96, 160), (96, -1))):
    with Store(path) as store:
        number = next(e.id for e in all_images(store) if e.name == name)
        region = Region(np.array(corners, dtype=float), kind)
        record(store, number, Edit("draw", diff_regions((), [region])))


def test_regions_are_printed_with_their_reason(suggest):
    status, printed, _ = suggest("--model", "tiny", "--n", 2)
    head, *rows = printed.splitlines()
    assert status == 0
    assert head.split("\t") == ["image", "plane", "window", "model's own error", "why"]
    assert len(rows) == 2
    image, plane, window, error, why = rows[0].split("\t")
    assert (image, plane) == ("many.png", "")
    assert window in ("y 0–80, x 0–80", "y 0–80, x 80–160")
    assert error.startswith("±")
    assert why in ("unsure", "looks new", "dots and density disagree")


def test_programs_get_json(suggest):
    status, printed, _ = suggest("--model", "tiny", "--n", 20, "--json")
    found = json.loads(printed)
    assert status == 0
    assert len(found) == 6  # two tiles an image
    assert found[0]["image"] == "many.png"
    assert {one["y1"] - one["y0"] for one in found} == {80.0}
    assert {found[0]["x0"], found[0]["y0"]} <= {-0.5, 79.5}
    assert {one["image"] for one in found[:2]} == {"many.png", "few.png"}


def test_what_was_counted_is_not_counted_again(suggest, project, monkeypatch, capsys):
    assert run(["project", "count", str(project), "--model", "tiny", "--device", "cpu"]) == 0
    capsys.readouterr()
    from celltally.learn import candidates

    def count(*_, **__):
        raise AssertionError("counted again")

    before = json.loads(suggest("--json")[1])
    monkeypatch.setattr(candidates, "iter_predict", count)
    assert json.loads(suggest("--json")[1]) == before
    assert before[0]["image"] == "many.png"  # and the model is that of the counts


def test_what_was_reviewed_is_left_out(suggest, project):
    review(project, "many.png")
    found = json.loads(suggest("--model", "tiny", "--json")[1])
    assert {one["image"] for one in found} == {"few.png", "empty.png"}
    review(project, "few.png", "exclude")
    review(project, "empty.png", "audit")
    status, printed, said = suggest("--model", "tiny")
    assert (status, printed) == (0, "")
    assert said.endswith("Nothing in study.celltally is left to be reviewed.\n")


def test_missing_images_are_named_and_the_others_looked_at(suggest, project):
    (project.parent / "images" / "many.png").unlink()
    status, printed, said = suggest("--model", "tiny")
    assert status == 1
    assert "many.png is missing" in said
    assert "few.png" in printed


def test_nonsense_is_refused_in_one_sentence(suggest, project, tmp_path, capsys):
    for wrong in (["--side", "-3"], ["--side", "nan"], ["--side", "2"], ["--n", "0"]):
        status, printed, said = suggest("--model", "tiny", *wrong)
        assert (status, printed) == (2, "")
        assert said
    empty = tmp_path / "empty.celltally"
    assert run(["project", "new", str(empty)]) == 0
    assert run(["project", "suggest", str(empty), "--model", "tiny"]) == 2
    assert "has no images; add some first" in capsys.readouterr().err


def test_it_has_help_with_an_example(capsys):
    assert run(["project", "suggest", "--help"]) == 0
    assert "Example: celltally project suggest" in " ".join(capsys.readouterr().out.split())


# ---- the job ----


def test_only_planes_that_changed_are_looked_at_again(project, tiny, monkeypatch):
    model, seen, looked = Model.load(tiny), Seen(), []
    read = suggesting.read_image

    def reading(path, **options):
        looked.append(path.stem)
        return read(path, **options)

    def ask(**options):
        looked.clear()
        with Store(project, read_only=True) as store:
            return drain(
                iter_suggest(store, model, 1, side_px=80, seen=seen, device="cpu", **options)
            )

    from celltally.learn import candidates

    counted = []
    real = candidates.iter_predict

    def predict(*arguments, **options):
        counted.append(options["image"])
        return real(*arguments, **options)

    monkeypatch.setattr(suggesting, "read_image", reading)
    monkeypatch.setattr(candidates, "iter_predict", predict)
    first = ask().suggestions[0]
    assert len(counted) == 3
    second = ask(asked=[first]).suggestions[0]
    assert (len(counted), second == first) == (3, False)
    review(project, "many.png")
    ask()
    assert len(counted) == 4


def test_what_a_base_counted_is_taken_with_the_calibration_of_that_one(project, tiny, monkeypatch):
    from celltally.learn import suggest as learn_suggest

    counted = ["count", str(project), "--model", str(tiny), "--device", "cpu"]
    assert run(["project", *counted]) == 0
    model = Model.load(tiny)
    base = model.with_calibration(replace(model.calibration, alpha=7.0))
    monkeypatch.setattr(Model, "counting", lambda *_: base)
    given = []
    real = learn_suggest.iter_candidates

    def look(*arguments, **options):
        given.append(options["prediction"])
        return real(*arguments, **options)

    monkeypatch.setattr(learn_suggest, "iter_candidates", look)
    with Store(project, read_only=True) as store:
        drain(iter_suggest(store, model, 1, side_px=80, device="cpu"))
    assert {one.calibration_sha256 for one in given} == {base.calibration_sha256}
    assert {one.calibration.alpha for one in given} == {7.0}


def test_images_that_came_from_no_file_can_be_read_where_they_are_open(tmp_path, tiny, draw_cells):
    pixels = draw_cells([(20, 20), (50, 60)], SHAPE)
    with Store(tmp_path / "one.celltally") as store:
        number = register(store, name="drawn", pixels_sha256="ab" * 32, shape=SHAPE)

        def read(t, z):
            yield from ()
            return pixels

        model = Model.load(tiny)
        found = drain(iter_suggest(store, model, 1, device="cpu", opened={number: read}))
        assert found.suggestions[0].window == (-0.5, -0.5, 95.5, 159.5)
        with pytest.raises(UserError, match="no image can be looked at: drawn came from no file"):
            drain(iter_suggest(store, model, 1, device="cpu"))
