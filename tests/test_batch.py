"""The batch: rows, files, resuming, and what a kill or a failing image leaves."""

import csv
import json
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest
import tifffile
import torch

from celltally import batch
from celltally.batch import COLUMNS, Counted, iter_count, read_counts
from celltally.batch.outputs import output_names
from celltally.batch.table import CountsFile
from celltally.density import density_map
from celltally.errors import UserError
from celltally.io import read_dots
from celltally.model import Model
from celltally.networks import build
from celltally.progress import drain
from celltally.types import Calibration, Grid, Prediction, Progress

CELL = 200  # the fake model counts the pixels that have this value

DESIGN_COLUMNS = (
    "image,t,z,class,count,ci_low,ci_high,level,interval_kind,n_dots,diameter_px,model,"
    "model_sha256,calibration_sha256,in_distribution,seconds,status,message"
)


@pytest.fixture
def counted(monkeypatch):
    """The names of the images that a fake model was shown, in order."""
    seen: list[str] = []

    def fake(model, pixels, *, diameter_px=None, device="auto", tile=None, image=""):
        seen.append(image)
        yield Progress(1, 1, "counting")
        yx = np.argwhere(pixels == CELL)
        grid = Grid(pixels.shape[:2])
        density = density_map(yx, grid, 1.5)[None]
        return Prediction(
            density=density,
            variance=np.zeros_like(density),
            grid=grid,
            image_shape=pixels.shape[:2],
            diameter_px=diameter_px or 10.0,
            model=model.name,
            model_sha256=model.sha256,
            calibration=Calibration(1.0, 0.0, 4.0, tuple(np.linspace(0, 2, 40)), 40, 40, ""),
            calibration_sha256=model.calibration_sha256,
            image=image,
            notes=("smaller tiles were used",),
        )

    monkeypatch.setattr(import_module("celltally.predict"), "iter_predict", fake)
    return seen


def field(n: int, shape: tuple[int, int] = (60, 60)) -> np.ndarray:
    """A field with n separate cells, for the fake model."""
    pixels = np.zeros(shape, np.uint8)
    places = [(y, x) for y in range(10, shape[0] - 9, 12) for x in range(10, shape[1] - 9, 12)]
    for y, x in places[:n]:
        pixels[y, x] = CELL
    return pixels


@pytest.fixture
def folder(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    iio.imwrite(pictures / "a.png", field(3))
    iio.imwrite(pictures / "b.png", field(0))
    iio.imwrite(pictures / "c.tif", field(7))
    return pictures


def count(*paths, **options):
    return drain(iter_count(paths, **options))


def test_the_columns_are_those_that_scripts_rely_on():
    assert ",".join(COLUMNS) == DESIGN_COLUMNS


def test_a_row_an_image_with_count_interval_and_dots(folder, tiny, counted, tmp_path):
    out = tmp_path / "counts.csv"
    table = count(folder, model=tiny, out=out, level=0.9)
    assert list(table["image"]) == ["a.png", "b.png", "c.tif"]
    assert list(table["n_dots"]) == [3, 0, 7]
    assert table["count"].to_numpy() == pytest.approx([3, 0, 7], abs=1e-3)
    assert (table["ci_low"] <= table["count"]).all()
    assert (table["ci_high"] >= table["count"]).all()
    assert set(table["level"]) == {0.9}
    assert set(table["status"]) == {"ok"}
    assert set(table["class"]) == {"cell"}
    assert set(table["model"]) == {"tiny"}
    assert all(len(sha) == 64 for sha in table["model_sha256"])
    written = pd.read_csv(out)
    assert list(written.columns) == list(COLUMNS)
    assert written["count"].to_numpy() == pytest.approx(table["count"].to_numpy())


def test_dots_and_density_belong_to_the_count(folder, tiny, counted, tmp_path):
    dots, density = tmp_path / "x" / "dots", tmp_path / "density"
    table = count(folder, model=tiny, dots_dir=dots, density_dir=density)
    assert sorted(p.name for p in dots.iterdir()) == ["a.csv", "b.csv", "c.csv"]
    for row in table.itertuples():
        stem = Path(row.image).stem
        assert len(read_dots(dots / f"{stem}.csv")) == row.n_dots
        total = tifffile.imread(density / f"{stem}.tif").sum(dtype=np.float64)
        assert total == pytest.approx(row.count, abs=1e-3)


def test_names_of_outputs_never_clash():
    paths = ["x/a.tif", "x/a.png", "x/b.tif", "y/b.tif", "z/y/b.tif", "x/c.tif", "x/a.tif.png"]
    names = output_names([Path(p) for p in paths])
    assert len({n.casefold() for n in names}) == len(paths)
    assert names[1] == "a.png"
    assert names[5] == "c"
    assert output_names([Path("x/a.tif"), Path("x/a.png")]) == ["a.tif", "a.png"]
    assert output_names([Path("x/A.tif"), Path("x/a.tif")]) == ["A", "a-2"]


def test_a_failing_image_is_a_row_and_the_batch_goes_on(folder, tiny, counted, tmp_path):
    (folder / "a0.tif").write_bytes(b"")
    (folder / "b0.png").write_bytes(b"this is no picture")
    (folder / "b1.tif").write_bytes((folder / "c.tif").read_bytes()[:500])
    out = tmp_path / "counts.csv"
    table = count(folder, model=tiny, out=out)
    failed = table[table["status"] == "failed"]
    assert list(failed["image"]) == ["a0.tif", "b0.png", "b1.tif"]
    assert all(name in m for name, m in zip(failed["image"], failed["message"], strict=True))
    assert failed["count"].isna().all()
    assert list(table[table["status"] == "ok"]["image"]) == ["a.png", "b.png", "c.tif"]
    assert [row["image"] for row in read_counts(out)] == list(table["image"])


@pytest.mark.parametrize("error", [RuntimeError("odd\nthing"), MemoryError()])
def test_an_unexpected_error_spoils_one_row_only(folder, tiny, counted, monkeypatch, error):
    module = import_module("celltally.predict")
    fake = module.iter_predict

    def breaking(model, pixels, *, image="", **options):
        if image == "b.png":
            raise error
        return fake(model, pixels, image=image, **options)

    monkeypatch.setattr(module, "iter_predict", breaking)
    table = count(folder, model=tiny)
    assert list(table["status"]) == ["ok", "failed", "ok"]
    assert "b.png" in table["message"][1]
    assert "\n" not in table["message"][1]


def test_steps_carry_the_row_and_the_notes(folder, tiny, counted):
    steps = list(iter_count([folder], model=tiny))
    done = [step for step in steps if isinstance(step, Counted)]
    assert [step.done for step in done] == [1, 2, 3]
    assert {step.total for step in steps} == {3}
    assert done[0].row["image"] == "a.png"
    assert done[0].notes == ("smaller tiles were used",)
    assert any("tile" in step.values for step in steps)


def test_the_plane_is_chosen_and_told(tmp_path, tiny, counted):
    stack = np.zeros((2, 5, 60, 60), np.uint8)
    stack[0, 2], stack[1, 4] = field(2), field(5)
    tifffile.imwrite(tmp_path / "s.tif", stack, imagej=True, metadata={"axes": "TZYX"})
    middle = count(tmp_path / "s.tif", model=tiny)
    assert (middle["t"][0], middle["z"][0], middle["n_dots"][0]) == (0, 2, 2)
    chosen = count(tmp_path / "s.tif", model=tiny, plane={"t": 1, "z": 4}, dots_dir=tmp_path)
    assert (chosen["t"][0], chosen["z"][0], chosen["n_dots"][0]) == (1, 4, 5)
    dots = read_dots(tmp_path / "s.csv")
    assert set(dots.t) == {1}
    assert set(dots.z) == {4}
    beyond = count(tmp_path / "s.tif", model=tiny, plane={"z": 9})
    assert beyond["status"][0] == "failed"
    assert "z=9" in beyond["message"][0]


@pytest.mark.parametrize(
    "name", ["=1+1.png", "+a.png", "@b.png", "-c.png", 'q"uo,te.png', "[red].png"]
)
def test_names_stay_exact(tmp_path, tiny, counted, name):
    iio.imwrite(tmp_path / name, field(1))
    out = tmp_path / "counts.csv"
    count(tmp_path / name, model=tiny, out=out)
    assert pd.read_csv(out)["image"][0] == name


def test_names_of_any_bytes_stay_exact(tmp_path, tiny, counted):
    name = "line\nbreak \udcff.png"
    try:
        (tmp_path / name).write_bytes(b"")
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    table = count(tmp_path, model=tiny, out=tmp_path / "counts.csv")
    assert list(table["image"]) == [name]
    assert [row["image"] for row in read_counts(tmp_path / "counts.csv")] == [name]
    assert "\n" not in read_counts(tmp_path / "counts.csv")[0]["message"]


# --- arguments -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"level": 0.0}, "level of 0.0 "),
        ({"level": 1.0}, "level of 1.0 "),
        ({"level": float("nan")}, "level of nan"),
        ({"diameter_px": -3.0}, "diameter -3"),
        ({"diameter_px": 0.0}, "diameter 0"),
        ({"diameter_px": 0.5}, "cells of 0.5 px"),
        ({"diameter_px": 1e7}, "larger than any image"),
        ({"diameter_px": float("inf")}, "diameter inf"),
        ({"device": "abacus"}, "abacus"),
        ({"model": "nobody"}, "nobody"),
        ({"plane": {"t": -1}}, "t=-1"),
        ({"plane": {"q": 1}}, "q=1"),
        ({"channel": -1}, "channel -1"),
        ({"resume": True}, "--out"),
        ({"out": "missing/counts.csv"}, "missing"),
        ({"out": "."}, "folder"),
        ({"out": "pictures/a.png"}, "a.png"),
        ({"dots_dir": "pictures/a.png"}, "a.png"),
        ({"density_dir": "pictures"}, "c.tif"),
    ],
)
def test_wrong_arguments_are_found_before_an_image_is_opened(
    folder, tiny, counted, monkeypatch, options, words
):
    monkeypatch.chdir(folder.parent)
    opened = []
    monkeypatch.setattr("celltally.batch.image.read_image", opened.append)
    before = {p: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(UserError) as caught:
        count(folder, **{"model": tiny, **options})
    assert words in str(caught.value)
    assert opened == []
    assert {p: p.read_bytes() for p in folder.iterdir()} == before


def test_a_missing_path_and_an_empty_folder(tmp_path, tiny):
    with pytest.raises(UserError, match=r"nothing\.tif"):
        count(tmp_path / "nothing.tif", model=tiny)
    with pytest.raises(UserError, match="no image"):
        count(tmp_path, model=tiny)


def test_a_damaged_model_is_an_argument(folder, tiny, counted, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny, copy)
    weights = copy / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(UserError, match=r"weights\.safetensors"):
        count(folder, model=copy)
    weights.unlink()
    with pytest.raises(UserError, match=r"weights\.safetensors"):
        count(folder, model=copy)
    assert counted == []


def test_dots_of_a_human_are_never_written_over(folder, tiny, counted, tmp_path):
    dots = tmp_path / "dots"
    dots.mkdir()
    (dots / "a.csv").write_text("y,x\n1,2\n")
    with pytest.raises(UserError, match=r"a\.csv exists and was not written by counting"):
        count(folder, model=tiny, dots_dir=dots)
    assert (dots / "a.csv").read_text() == "y,x\n1,2\n"
    assert counted == []


def test_own_outputs_are_written_again(folder, tiny, counted, tmp_path):
    for n in (3, 6):
        iio.imwrite(folder / "a.png", field(n))
        count(folder, model=tiny, dots_dir=tmp_path / "o", density_dir=tmp_path / "o")
        assert len(read_dots(tmp_path / "o" / "a.csv")) == n


# --- what is kept -----------------------------------------------------------------


def stop_after(job, n):
    """Close a job after its n-th image, as Ctrl-C does."""
    for step in job:
        if isinstance(step, Counted) and step.done == n:
            job.close()
            return


def test_rows_are_there_as_they_come(folder, tiny, counted, tmp_path):
    out = tmp_path / "counts.csv"
    for step in iter_count([folder], model=tiny, out=out):
        if isinstance(step, Counted):
            assert len(read_counts(out)) == step.done


def test_resume_counts_the_rest_only(folder, tiny, counted, tmp_path):
    out = tmp_path / "counts.csv"
    stop_after(iter_count([folder], model=tiny, out=out), 2)
    assert [row["image"] for row in read_counts(out)] == ["a.png", "b.png"]
    del counted[:]
    table = count(folder, model=tiny, out=out, resume=True)
    assert counted == ["c.tif"]
    assert list(table["image"]) == ["a.png", "b.png", "c.tif"]
    assert table["count"].to_numpy() == pytest.approx([3, 0, 7], abs=1e-3)
    assert not list(tmp_path.glob("*.bak*"))


def test_resume_after_a_kill_in_the_middle_of_a_row(folder, tiny, counted, tmp_path):
    out = tmp_path / "counts.csv"
    count(folder, model=tiny, out=out)
    text = out.read_text()
    out.write_text(text[: text.rindex("ok") + 2])
    del counted[:]
    count(folder, model=tiny, out=out, resume=True)
    assert counted == ["c.tif"]
    assert len(read_counts(out)) == 3


def test_a_table_with_a_damaged_row_is_not_gone_on_with(folder, tiny, counted, tmp_path):
    out = tmp_path / "counts.csv"
    count(folder, model=tiny, out=out)
    header, first, *others = out.read_text().splitlines()
    damaged = "\n".join([header, first.partition(",")[2], *others]) + "\n"
    out.write_text(damaged)
    with pytest.raises(UserError, match="row 2 has 17 columns instead of 18"):
        count(folder, model=tiny, out=out, resume=True)
    assert out.read_text() == damaged


def test_densities_in_the_counted_folder_are_no_images(folder, tiny, counted):
    """They lie there after the first run, beside the images."""
    for _ in range(2):
        table = count(folder, model=tiny, density_dir=folder / "maps", recursive=True)
        assert list(table["image"]) == ["a.png", "b.png", "c.tif"]


def test_a_level_near_one_is_told_as_it_is(folder, tiny, counted, tmp_path):
    table = count(folder, model=tiny, out=tmp_path / "c.csv", level=0.99999999)
    assert set(table["level"]) == {0.99999999}


def test_resume_tries_failed_images_again(folder, tiny, counted, tmp_path):
    out = tmp_path / "counts.csv"
    good = (folder / "b.png").read_bytes()
    (folder / "b.png").write_bytes(b"")
    count(folder, model=tiny, out=out)
    (folder / "b.png").write_bytes(good)
    del counted[:]
    table = count(folder, model=tiny, out=out, resume=True)
    assert counted == ["b.png"]
    assert set(table["status"]) == {"ok"}
    assert [row["image"] for row in read_counts(out)] == ["a.png", "b.png", "c.tif"]


@pytest.mark.parametrize(
    "change",
    [{"level": 0.9}, {"diameter_px": 11.0}, {"plane": {"t": 0}}, {"channel": 0}, {}],
)
def test_resume_counts_again_what_was_counted_otherwise(folder, tiny, counted, tmp_path, change):
    out = tmp_path / "counts.csv"
    count(folder, model=tiny, out=out, diameter_px=10.0)
    del counted[:]
    count(folder, model=tiny, out=out, resume=True, **{"diameter_px": 10.0, **change})
    assert counted == ([] if not change else ["a.png", "b.png", "c.tif"])


def test_resume_takes_no_count_of_another_file(folder, tiny, counted, tmp_path):
    out, other = tmp_path / "counts.csv", tmp_path / "other"
    count(folder, model=tiny, out=out)
    other.mkdir()
    (other / "a.png").write_bytes((folder / "b.png").read_bytes())
    iio.imwrite(folder / "b.png", np.zeros((9, 9), np.uint8))
    del counted[:]
    count(other / "a.png", folder / "b.png", model=tiny, out=out, resume=True)
    assert sorted(counted) == ["a.png", "b.png"]
    del counted[:]
    count(folder / "c.tif", model=tiny, out=out, resume=True)
    assert counted == []


def test_resume_without_knowing_what_was_counted(folder, tiny, counted, tmp_path):
    out = tmp_path / "counts.csv"
    count(folder, model=tiny, out=out)
    origins = tmp_path / ".counts.csv.origins"
    whole = origins.read_text()
    origins.write_text(whole[: whole.rindex("{") + 9])  # as a kill may leave it
    del counted[:]
    count(folder, model=tiny, out=out, resume=True)
    assert counted == ["c.tif"]
    origins.unlink()
    del counted[:]
    count(folder, model=tiny, out=out, resume=True)
    assert counted == ["a.png", "b.png", "c.tif"]


def test_the_channel_that_was_guessed_is_told(tiny, counted, tmp_path):
    path = tmp_path / "two.tif"
    tifffile.imwrite(path, np.zeros((2, 20, 30), np.uint8), metadata={"axes": "CYX"}, imagej=True)
    assert "channel 0 of 2 was counted" in count(path, model=tiny)["message"][0]
    assert "channel" not in str(count(path, model=tiny, channel=1)["message"][0])


def test_resume_counts_again_with_another_model(folder, tiny, counted, tmp_path):
    out = tmp_path / "counts.csv"
    count(folder, model=tiny, out=out)
    other = tmp_path / "other"
    torch.manual_seed(1)
    network = build("tally", json.loads((tiny / "model.json").read_text())["config"])
    Model.from_network(network, name="other", diameter_px=12.0).save(other)
    del counted[:]
    table = count(folder, model=other, out=out, resume=True)
    assert len(counted) == 3
    assert set(table["model"]) == {"other"}


def test_resume_wants_the_files_that_are_asked_for(folder, tiny, counted, tmp_path):
    out, dots = tmp_path / "counts.csv", tmp_path / "dots"
    count(folder, model=tiny, out=out, dots_dir=dots)
    (dots / "b.csv").unlink()
    del counted[:]
    count(folder, model=tiny, out=out, dots_dir=dots, resume=True)
    assert counted == ["b.png"]
    assert (dots / "b.csv").is_file()


def test_resume_keeps_the_rows_of_other_images(folder, tiny, counted, tmp_path):
    out = tmp_path / "counts.csv"
    count(folder / "c.tif", model=tiny, out=out)
    table = count(folder / "a.png", model=tiny, out=out, resume=True)
    assert list(table["image"]) == ["a.png"]
    assert [row["image"] for row in read_counts(out)] == ["c.tif", "a.png"]


def test_resume_counts_images_of_one_name_again(folder, tiny, counted, tmp_path):
    more = tmp_path / "more"
    more.mkdir()
    iio.imwrite(more / "a.png", field(9))
    out = tmp_path / "counts.csv"
    count(folder, more, model=tiny, out=out)
    del counted[:]
    table = count(folder, more, model=tiny, out=out, resume=True)
    assert counted == ["a.png", "a.png"]
    assert sorted(table[table["image"] == "a.png"]["n_dots"]) == [3, 9]
    assert len(read_counts(out)) == 4


def test_an_earlier_table_is_kept_until_it_is_replaced(folder, tiny, counted, tmp_path):
    out = tmp_path / "counts.csv"
    count(folder, model=tiny, out=out)
    before = out.read_bytes()
    stop_after(iter_count([folder], model=tiny, out=out), 1)
    assert (tmp_path / "counts.csv.bak").read_bytes() == before
    assert len(read_counts(out)) == 1
    # A second stop does not harm what the first one set aside.
    stop_after(iter_count([folder], model=tiny, out=out), 1)
    assert (tmp_path / "counts.csv.bak").read_bytes() == before
    # A table that is complete again needs none.
    (tmp_path / "counts.csv.bak").unlink()
    (tmp_path / "counts.csv.bak2").unlink()
    count(folder, model=tiny, out=out)
    assert not list(tmp_path.glob("*.bak*"))


def test_an_earlier_table_stays_when_its_images_fail_now(folder, tiny, counted, tmp_path):
    out = tmp_path / "counts.csv"
    count(folder, model=tiny, out=out)
    before = out.read_bytes()
    (folder / "a.png").write_bytes(b"")
    steps = list(iter_count([folder], model=tiny, out=out))
    assert "counts.csv.bak" in steps[-1].message
    assert (tmp_path / "counts.csv.bak").read_bytes() == before


def test_a_file_that_is_no_table_is_left_alone(folder, tiny, counted, tmp_path):
    for content in ("my,own,data\n1,2,3\n", "text", "\0\1\2"):
        out = tmp_path / "mine.csv"
        out.write_text(content)
        for resume in (False, True):
            with pytest.raises(UserError, match="no table of counts"):
                count(folder, model=tiny, out=out, resume=resume)
        assert out.read_text() == content
    assert counted == []


def test_a_full_disk_is_told_and_loses_nothing(folder, tiny, counted, tmp_path, monkeypatch):
    out = tmp_path / "counts.csv"
    append, n = CountsFile.append, 0

    def full(self, row):
        nonlocal n
        n += 1
        if n == 3:
            self._file.close()
            self._file = Path("/dev/full").open("w")  # noqa: SIM115
        append(self, row)

    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    monkeypatch.setattr(CountsFile, "append", full)
    with pytest.raises(UserError, match=r"counts\.csv could not be written \(no space left"):
        count(folder, model=tiny, out=out)
    assert [row["image"] for row in read_counts(out)] == ["a.png", "b.png"]


def test_the_file_is_plain_csv(folder, tiny, counted, tmp_path):
    out = tmp_path / "counts.csv"
    count(folder, model=tiny, out=out)
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == list(COLUMNS)
    assert {len(row) for row in rows} == {len(COLUMNS)}
    assert b"\r" not in out.read_bytes()
    assert batch.typed(read_counts(out)).dtypes["count"] == np.float64


def test_a_real_model_counts_real_files(folder, tiny, tmp_path):
    bare = tmp_path / "bare"
    replace(Model.load(tiny), calibration=None).save(bare)
    rng = np.random.default_rng(0)
    iio.imwrite(folder / "noise.png", rng.integers(0, 255, (70, 90), dtype=np.uint8))
    table = count(folder / "noise.png", folder / "b.png", model=bare, diameter_px=12.0)
    assert list(table["status"]) == ["ok", "ok"]
    blank = table[table["image"] == "b.png"].iloc[0]
    assert blank["count"] == 0
    assert blank["n_dots"] == 0
    assert set(table["interval_kind"]) == {"not calibrated"}
    assert table["ci_low"].isna().all()
    assert table["in_distribution"].isna().all()


def test_being_unlike_the_training_images_is_told(folder, tiny, tmp_path):
    strange = tmp_path / "strange"
    model = Model.load(tiny)
    ranges = {"contrast": (50.0, 60.0)}
    calibration = Calibration(1, 0, 1, tuple(np.linspace(0, 2, 40)), 40, 40, "", ranges=ranges)
    model.with_calibration(calibration).save(strange)
    table = count(folder / "a.png", model=strange, diameter_px=12.0)
    assert not table["in_distribution"][0]
    assert table["interval_kind"][0] == "not calibrated"
    assert "contrast" in table["message"][0]
