"""The command line: options, exit codes, streams, and hostile input through the real thing."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest
import tifffile

from celltally import __version__, zoo
from celltally.batch import COLUMNS
from celltally.cli import run
from celltally.cli._output import follow
from celltally.errors import UserError
from celltally.learn.augment import AUGMENTATIONS
from celltally.learn.data import read_dataset
from celltally.learn.fit import STARTED_RATE, FitConfig
from celltally.model import Model
from celltally.types import Progress

COMMANDS = (
    *("count", "train", "calibrate", "evaluate", "explain", "models", "info", "demo", "total"),
    *("finetune", "new-model", "project"),
)


@pytest.fixture
def own_models(tiny, monkeypatch):
    """The tiny model is the only one there is."""
    monkeypatch.setattr(zoo, "user_models_dir", lambda: tiny.parent)
    monkeypatch.setattr(zoo, "shipped_models_dir", lambda: tiny.parent / "none")


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    iio.imwrite(path, np.random.default_rng(0).integers(0, 255, (70, 90), dtype=np.uint8))
    return path


def celltally(*arguments, **options):
    """Run the program as a user does."""
    return subprocess.run(
        [sys.executable, "-c", "from celltally.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
        **options,
    )


def sentence(text: str) -> str:
    """The one line that was said, without its beginning."""
    (line,) = text.strip().splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


# --- the program -----------------------------------------------------------------


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"celltally {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command, capsys):
    assert run([command, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert re.search(rf"Example: celltally {command}\b", text)


def test_the_program_lists_its_commands(capsys):
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"^  {command} ", text, re.MULTILINE) for command in COMMANDS)
    assert run([]) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["count"],
        ["count", "a.png", "--level", "high"],
        ["count", "a.png", "--diameter", "large"],
        ["count", "a.png", "--colour", "red"],
        ["train", "data"],
        ["evaluate"],
        ["info"],
    ],
)
def test_wrong_usage_is_one_sentence_and_2(arguments, capsys):
    assert run(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert "--help" in sentence(output.err)


@pytest.mark.parametrize("arguments", [["--help"], ["count", "--help"], ["models"]])
def test_looking_loads_no_torch(arguments):
    code = (
        "import sys; from celltally.cli import run; run(sys.argv[1:]);"
        "print(*{'torch', 'pandas', 'napari', 'qtpy'} & set(sys.modules), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert result.stderr.strip() == ""


# --- count -----------------------------------------------------------------------


def test_count_from_file_to_table(tiny, picture, tmp_path):
    result = celltally(
        *("count", picture, "--model", tiny, "--diameter", 12, "--level", 0.9),
        *("--out", "counts.csv", "--dots", "dots", "--density", "density"),
        cwd=tmp_path,
    )
    assert (result.returncode, result.stderr) == (0, "")
    header, line = result.stdout.splitlines()
    assert header.split("\t") == ["image", "count", "interval", "dots"]
    table = pd.read_csv(tmp_path / "counts.csv")
    assert list(table.columns) == list(COLUMNS)
    row = table.iloc[0]
    assert (row["image"], row["status"], row["model"]) == ("picture.png", "ok", "tiny")
    assert (row["level"], row["diameter_px"]) == (0.9, 12)
    assert line.split("\t")[:2] == ["picture.png", f"{row['count']:.1f}"]
    assert len(pd.read_csv(tmp_path / "dots" / "picture.csv")) == row["n_dots"]
    total = tifffile.imread(tmp_path / "density" / "picture.tif").sum(dtype=np.float64)
    # Random weights may give a negative sum; a count never is.
    assert max(total, 0) == pytest.approx(row["count"], rel=1e-3, abs=1e-3)


def test_count_as_json(tiny, picture, own_models, capsys):
    assert run(["count", str(picture), "--model", "tiny", "--diameter", "12", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert list(row) == list(COLUMNS)
    assert row["status"] == "ok"
    assert row["ci_low"] <= row["count"] <= row["ci_high"]
    assert isinstance(row["n_dots"], int)


def test_count_says_which_image_failed_and_counts_the_others(tiny, picture, tmp_path, capsys):
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    arguments = ["count", str(tmp_path), "--model", str(tiny), "--diameter", "12"]
    assert run(arguments) == 1
    output = capsys.readouterr()
    assert "broken.tif" in sentence(output.err)
    assert [line.split("\t")[0] for line in output.out.splitlines()[1:]] == [
        "broken.tif",
        "picture.png",
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--level", "1.5"], "1.5"),
        (["--level", "0"], "level of 0"),
        (["--diameter", "-4"], "-4"),
        (["--diameter", "nan"], "nan"),
        (["--diameter", "0.5"], "0.5 px"),
        (["--model", "nobody"], "nobody"),
        (["--device", "abacus"], "abacus"),
        (["--device", "cuda:99"], "cuda:99"),
        (["--plane", "c=1"], "c=1"),
        (["--plane", "z"], "'z'"),
        (["--plane", "z=1,z=2"], "z=1,z=2"),
        (["--plane", "z=-1"], "z=-1"),
        (["--plane", ""], "''"),
        (["--channel", "-1"], "-1"),
        (["--out", "nowhere/counts.csv"], "nowhere"),
        (["--out", "."], "folder"),
        (["--dots", "picture.png/dots"], "picture.png"),
        (["--density", "picture.png"], "picture.png"),
        (["--resume"], "--out"),
    ],
)
def test_wrong_arguments_are_found_before_an_image_is_opened(
    tiny, picture, monkeypatch, capsys, options, words
):
    monkeypatch.chdir(picture.parent)
    opened = []
    monkeypatch.setattr("celltally.batch.image.read_image", opened.append)
    assert run(["count", "picture.png", "--model", str(tiny), *options]) == 2
    output = capsys.readouterr()
    assert words in sentence(output.err)
    assert output.out == ""
    assert opened == []


def hostile(folder: Path) -> dict[str, tuple[str, bool]]:
    """Images that nobody should have to count; whether each can be counted all the same."""
    rng = np.random.default_rng(0)
    noise = rng.normal(100, 10, (40, 50))
    partly = noise.astype(np.float32)
    partly[3:9, 4:9], partly[20, 20], partly[0, 0] = np.nan, np.inf, -np.inf
    arrays = {
        "one_pixel": np.full((1, 1), 7, np.uint8),
        "three_rows": rng.integers(0, 255, (3, 200), dtype=np.uint8),
        "constant": np.full((40, 50), 9, np.uint16),
        "all_nan": np.full((40, 50), np.nan, np.float32),
        "partly_infinite": partly,
        "bool": noise > 100,
        "int32": noise.astype(np.int32) - 100,
        "float64": noise * 1e-9,
        "huge_values": noise * 1e300,
        "uint64": (noise * 1e9).astype(np.uint64),
        "complex": noise.astype(np.complex64),
        "five_axes": rng.integers(0, 255, (2, 3, 2, 40, 50), dtype=np.uint8),
    }
    for name, array in arrays.items():
        options = {"imagej": True, "metadata": {"axes": "TZCYX"}} if name == "five_axes" else {}
        tifffile.imwrite(folder / f"{name}.tif", array, **options)
    tifffile.imwrite(folder / "whole.tif", np.tile(arrays["int32"], (8, 8)))
    whole = (folder / "whole.tif").read_bytes()
    (folder / "truncated.tif").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.tif").write_bytes(b"")
    (folder / "foreign.tif").write_bytes(b"%PDF-1.7 not an image")
    (folder / "foreign.png").write_bytes(b"<html></html>")
    iio.imwrite(folder / "half.png", arrays["three_rows"])
    (folder / "half.png").write_bytes((folder / "half.png").read_bytes()[:60])
    (folder / "folder.tif").mkdir()
    fails = {"all_nan.tif", "complex.tif", "truncated.tif", "empty.tif", "foreign.tif"}
    fails |= {"foreign.png", "half.png"}
    files = sorted(p.name for p in folder.iterdir() if p.is_file())
    return {name: name not in fails for name in files}


def test_hostile_images_are_counted_or_told(tiny, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    expected = hostile(pictures)
    out = tmp_path / "counts.csv"
    result = celltally("count", pictures, "--model", tiny, "--diameter", 12, "--out", out)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    table = pd.read_csv(out).set_index("image")
    assert {name: table["status"][name] == "ok" for name in table.index} == expected
    failed = table[table["status"] == "failed"]
    assert all(name in message for name, message in failed["message"].items())
    assert not failed["message"].str.contains("unexpected").any()
    lines = result.stderr.splitlines()
    assert sorted(lines) == sorted(f"Error: {message}" for message in failed["message"])
    assert table["count"]["constant.tif"] == 0
    assert table["n_dots"]["constant.tif"] == 0
    assert table["count"]["one_pixel.tif"] == 0
    counted = table[table["status"] == "ok"]
    assert np.isfinite(counted["count"]).all()
    assert (counted["ci_low"] >= 0).all()


def test_a_folder_without_images_and_a_missing_path(tiny, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("no image")
    assert run(["count", str(tmp_path), "--model", str(tiny)]) == 2
    assert str(tmp_path) in sentence(capsys.readouterr().err)
    assert run(["count", str(tmp_path / "gone.tif"), "--model", str(tiny)]) == 2
    assert "gone.tif" in sentence(capsys.readouterr().err)


def test_channels_that_do_not_exist_are_told(tiny, picture, capsys):
    for channel in ("7", "DAPI"):
        arguments = ["count", str(picture), "--model", str(tiny), "--channel", channel]
        assert run(arguments) == 1
        assert channel in sentence(capsys.readouterr().err)


@pytest.mark.parametrize("harm", ["missing", "altered", "no record", "nonsense record"])
def test_a_harmed_model_is_told(tiny, picture, tmp_path, capsys, harm):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(tiny, copy)
    weights, record = copy / "weights.safetensors", copy / "model.json"
    if harm == "missing":
        weights.unlink()
    elif harm == "altered":
        weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    elif harm == "no record":
        record.unlink()
    else:
        record.write_text("{")
    assert run(["count", str(picture), "--model", str(copy)]) == 2
    name = "weights" if harm in ("missing", "altered") else "model.json"
    assert name in sentence(capsys.readouterr().err)


@pytest.mark.parametrize("name", ["=cmd.png", "-flag.png", "[red]x.png", "a\tb.png"])
def test_odd_names_are_printed_as_they_are(tiny, picture, tmp_path, monkeypatch, capsys, name):
    odd = tmp_path / "odd"
    odd.mkdir()
    picture.rename(odd / name)
    monkeypatch.chdir(odd)
    assert run(["count", "--model", str(tiny), "--diameter", "12", "--out", "c.csv", "."]) == 0
    assert pd.read_csv(odd / "c.csv")["image"][0] == name
    assert capsys.readouterr().out.splitlines()[1].startswith(name.replace("\t", "�"))


def test_notes_are_said_once_on_stderr(tiny, picture, monkeypatch, capsys):
    from dataclasses import replace

    module = import_module("celltally.predict")
    real = module.iter_predict

    def noting(*arguments, **options):
        prediction = yield from real(*arguments, **options)
        return replace(prediction, notes=("Smaller tiles were used.",))

    monkeypatch.setattr(module, "iter_predict", noting)
    iio.imwrite(picture.parent / "other.png", np.zeros((30, 30), np.uint8))
    assert run(["count", str(picture.parent), "--model", str(tiny), "--diameter", "12"]) == 0
    assert capsys.readouterr().err == "Smaller tiles were used.\n"


def test_ctrl_c_keeps_what_is_done(tiny, picture, tmp_path, monkeypatch, capsys):
    module = import_module("celltally.predict")
    real = module.iter_predict

    def interrupted(*arguments, image="", **options):
        if image == "z.png":
            raise KeyboardInterrupt
        return (yield from real(*arguments, image=image, **options))

    iio.imwrite(tmp_path / "z.png", np.zeros((30, 30), np.uint8))
    out = tmp_path / "counts.csv"
    common = [
        "count",
        str(tmp_path),
        "--model",
        str(tiny),
        "--diameter",
        "12",
        "--out",
        str(out),
    ]
    monkeypatch.setattr(module, "iter_predict", interrupted)
    assert run(common) == 130
    output = capsys.readouterr()
    assert "--resume" in output.err
    assert "picture.png" in output.out
    assert list(pd.read_csv(out)["image"]) == ["picture.png"]
    monkeypatch.setattr(module, "iter_predict", real)
    assert run([*common, "--resume"]) == 0
    assert list(pd.read_csv(out)["image"]) == ["picture.png", "z.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_stops_between_two_steps_and_twice_at_once(presses):
    """In the middle of a step a library may be half-way through a file."""
    seen = []

    def job():
        try:
            yield Progress(1, 3)
            for _ in range(presses):
                signal.raise_signal(signal.SIGINT)
            seen.append("the step was finished")
            yield Progress(2, 3)
            seen.append("the next was begun")
            yield Progress(3, 3)
        finally:
            seen.append("closed")

    earlier = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        follow(job(), "counting", lambda draw, step: seen.append(f"step {step.done}"))
    steps = ["step 1", "the step was finished", "step 2"] if presses == 1 else ["step 1"]
    assert seen == [*steps, "closed"]
    assert signal.getsignal(signal.SIGINT) is earlier


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_process_leaves_its_rows(tiny, tmp_path, how):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for i in range(200):
        iio.imwrite(pictures / f"{i:03}.png", rng.integers(0, 255, (64, 64), dtype=np.uint8))
    out = tmp_path / "counts.csv"
    common = [
        "count",
        str(pictures),
        "--model",
        str(tiny),
        "--diameter",
        "12",
        "--out",
        str(out),
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", "from celltally.cli import main; main()", *common],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (
        not out.exists() or len(out.read_bytes().splitlines()) < 6
    ):
        time.sleep(0.01)
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    assert "Traceback" not in err
    done = pd.read_csv(out)
    assert 5 <= len(done) < 200
    assert set(done["status"]) == {"ok"}
    assert run([*common, "--resume"]) == 0
    table = pd.read_csv(out)
    assert list(table["image"]) == [f"{i:03}.png" for i in range(200)]
    # What was done was not counted again: its time is the same.
    kept = table["image"].isin(done["image"])
    assert list(table[kept]["seconds"]) == list(done["seconds"])


DEFECT = """
import sys
from celltally.batch import image
from celltally.cli import main

def broken(*arguments, **options):
    raise KeyError("defect")

image.select_pixels = broken
main()
"""


def run_with_a_defect(state, *arguments):
    return subprocess.run(
        [sys.executable, "-c", DEFECT, *map(str, arguments)],
        env={**os.environ, "XDG_STATE_HOME": str(state), "HOME": str(state)},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep logs elsewhere")
def test_the_traceback_of_a_defect_is_in_a_file(tiny, picture, tmp_path):
    result = run_with_a_defect(tmp_path / "state", "count", picture, "--model", tiny)
    assert result.returncode == 1
    said = result.stdout + result.stderr
    assert "unexpected KeyError: 'defect'" in said
    assert "Traceback" not in said
    (log,) = (tmp_path / "state").rglob("celltally.log")
    assert str(log) in said
    assert "in broken" in log.read_text()
    (tmp_path / "file").touch()
    result = run_with_a_defect(tmp_path / "file", "count", picture, "--model", tiny)
    assert result.returncode == 1
    assert "Traceback" not in result.stdout + result.stderr


# --- models, info, demo ------------------------------------------------------------


def test_models(tiny, own_models, capsys):
    assert run(["models"]) == 0
    header, line = (text.split("\t") for text in capsys.readouterr().out.splitlines())
    row = dict(zip(header, line, strict=True))
    assert (row["name"], row["network"], row["calibrated"]) == ("tiny", "tally", "yes")
    assert run(["models", "--json"]) == 0
    (model,) = json.loads(capsys.readouterr().out)
    assert model["sha256"].startswith(row["sha256"])
    assert model["diameter_px"] == 12


def test_published_architectures_are_listed_apart(tiny, tmp_path, monkeypatch, capsys):
    from celltally.networks import build

    shutil.copytree(tiny, tmp_path / "zebrafish")
    network = build("csrnet", {"width": 1 / 16})
    Model.from_network(network, name="m", diameter_px=12.0).save(tmp_path / "csrnet-u2os")
    monkeypatch.setattr(zoo, "user_models_dir", lambda: tmp_path)
    monkeypatch.setattr(zoo, "shipped_models_dir", lambda: tmp_path / "none")
    assert run(["models"]) == 0
    own, published = capsys.readouterr().out.split("\nPublished architectures, for comparison:\n")
    assert [line.split("\t")[0] for line in own.splitlines()] == ["name", "zebrafish"]
    header, line = (text.split("\t") for text in published.splitlines())
    row = dict(zip(header, line, strict=True))
    assert (row["name"], row["architecture"]) == ("csrnet-u2os", "CSRNet (Li et al. 2018)")
    assert run(["models", "--json"]) == 0
    ours, theirs = json.loads(capsys.readouterr().out)
    assert (ours["network"], ours["architecture"], ours["paper"]) == ("tally", None, None)
    assert (theirs["network"], theirs["architecture"]) == ("csrnet", "CSRNet (Li et al. 2018)")
    assert theirs["paper"].startswith("Li, Zhang & Chen")


def test_info(tmp_path, capsys):
    path = tmp_path / "stack.tif"
    metadata = {"axes": "ZCYX", "unit": "um"}
    stack = np.random.default_rng(0).integers(0, 4000, (3, 2, 40, 50), dtype=np.uint16)
    tifffile.imwrite(path, stack, imagej=True, resolution=(2, 2), metadata=metadata)
    assert run(["info", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["axes"] == "ZCYX"
    assert facts["shape"] == [3, 2, 40, 50]
    assert facts["dtype"] == "uint16"
    assert facts["pixel_size_um"] == pytest.approx([0.5, 0.5])
    assert facts["channels"] == ["0", "1"]
    assert run(["info", str(path)]) == 0
    text = capsys.readouterr().out
    assert "3 × 2 × 40 × 50" in text
    assert "0.5 × 0.5 µm" in text


def test_info_of_hostile_files(tmp_path, capsys):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name, usable in hostile(pictures).items():
        status = run(["info", str(pictures / name)])
        output = capsys.readouterr()
        told = usable or name == "all_nan.tif"  # what it is, and why not more
        assert status == (0 if told else 2), name
        if not told:
            assert sentence(output.err)
        elif not usable:
            assert re.search("cell diameter +every pixel is NaN", output.out)


def test_demo_names_the_extra_where_napari_is_missing(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(["demo", "--out", str(tmp_path)]) == 2
    assert 'pip install "celltally[all]"' in sentence(capsys.readouterr().err)


# --- train, calibrate, evaluate -----------------------------------------------------


@pytest.fixture
def dataset(tmp_path):
    """A data set of bright discs."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "dots").mkdir()
    rng = np.random.default_rng(1)
    grid = np.indices((64, 64)).transpose(1, 2, 0)
    for i in range(4):
        yx = rng.uniform(8, 56, (3 + i, 2))
        image = rng.normal(20, 3, (64, 64))
        for centre in yx:
            image += 150 * np.exp(-((grid - centre) ** 2).sum(axis=2) / 18)
        iio.imwrite(folder / "images" / f"{i}.png", image.clip(0, 255).astype(np.uint8))
        np.savetxt(folder / "dots" / f"{i}.csv", yx, delimiter=",", header="y,x", comments="")
    (folder / "dataset.json").write_text(json.dumps({"name": "discs", "diameter_px": 12}))
    return folder


def test_evaluate_prints_and_writes(tiny, dataset, tmp_path, capsys):
    out = tmp_path / "report"
    assert run(["evaluate", str(dataset), "--model", str(tiny), "--out", str(out)]) == 0
    output = capsys.readouterr()
    metrics = json.loads((out / "metrics.json").read_text())
    lines = dict(line.split("\t") for line in output.out.splitlines())
    assert lines["n"] == "4"
    assert float(lines["mae"]) == pytest.approx(metrics["mae"], rel=1e-3)
    assert "12 px, the data set's" in output.err
    assert len(pd.read_csv(out / "per_image.csv")) == 4
    assert run(["evaluate", str(dataset), "--model", str(tiny), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == metrics


def test_evaluate_measures_explanations(tiny, dataset, tmp_path, capsys):
    out = tmp_path / "report"
    words = ["evaluate", str(dataset), "--model", str(tiny), "--explanations", "--out", str(out)]
    assert run(words) == 0
    lines = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    measured = json.loads((out / "metrics.json").read_text())["explanations"]
    assert measured.keys() <= lines.keys()
    assert lines["prototypes"] == "4"
    assert pd.read_csv(out / "explanations.csv")["prototype"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--level", "2"], "level of 2"),
        (["--diameter", "big"], "big"),
        (["--diameter", "-1"], "-1"),
        (["--diameter", "0.5"], "0.5 px"),
        (["--model", "nobody"], "nobody"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_evaluate_refuses_wrong_arguments(tiny, dataset, capsys, options, words):
    assert run(["evaluate", str(dataset), "--model", str(tiny), *options]) == 2
    assert words in sentence(capsys.readouterr().err)


def test_evaluate_refuses_what_is_no_data_set(tiny, tmp_path, capsys):
    assert run(["evaluate", str(tmp_path), "--model", str(tiny)]) == 2
    assert "images" in sentence(capsys.readouterr().err)


def test_calibrate_makes_a_copy(tiny, dataset, tmp_path, capsys):
    before = {p.name: p.read_bytes() for p in tiny.iterdir() if p.is_file()}
    out = tmp_path / "copy"
    assert run(["calibrate", str(tiny), str(dataset), "--out", str(out)]) == 0
    assert Model.load(out).calibration.n == 4
    assert "15 more needed for a calibrated interval" in capsys.readouterr().err
    assert Model.load(out).record.training["calibrated from"].startswith("tiny (calibration ")
    assert Model.load(out).sha256 == Model.load(tiny).sha256
    assert {p.name: p.read_bytes() for p in tiny.iterdir() if p.is_file()} == before
    assert run(["calibrate", str(tiny), str(dataset), "--out", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.fixture
def fake_training(monkeypatch, tiny):
    """A training that takes three steps and saves after the second."""
    given: dict[str, object] = {}

    def fake(data, *, out, stop_at=None, **options):
        given.update(options, data=list(data), out=out)
        model = Model.load(tiny)
        for step in range(1, 4):
            if step == given.get("stop_at"):
                raise KeyboardInterrupt
            if step == 2:
                model = model.save(out)
            yield Progress(step, 3, "training", {"loss": 1.0 / step, "val_mae": 3.0 - step})
        return model

    monkeypatch.setattr(import_module("celltally.learn.train"), "iter_train", fake)
    return given


def test_train_hands_over_its_options(fake_training, dataset, tmp_path, capsys):
    out = tmp_path / "mine"
    common = ["train", str(dataset), "--out", str(out), "--network", "tally", "--seed", "5"]
    more = ["--steps", "3", "--val", str(dataset), "--sample", "Discs.", "--json"]
    more += ["--weight", f"{read_dataset(dataset).name}=2.5"]
    more += ["--learning-rate", "0.002", "--augmentation", "slight"]
    more += ["--augmentation", f"{read_dataset(dataset).name}=mild"]
    more += ["--setting", "depth=16", "--setting", "widths=[8, 8]", "--setting", "kind=round"]
    assert run([*common, *more]) == 0
    output = capsys.readouterr()
    assert fake_training["data"] == [dataset]
    assert fake_training["val"] == [dataset]
    assert (fake_training["steps"], fake_training["minutes"]) == (3, None)
    assert (fake_training["seed"], fake_training["sample"]) == (5, "Discs.")
    assert fake_training["fit"].set_weights == {read_dataset(dataset).name: 2.5}
    assert fake_training["fit"].learning_rate == 0.002
    assert fake_training["fit"].augmentation == AUGMENTATIONS["slight"]
    settings = {"depth": 16, "widths": [8, 8], "kind": "round"}
    assert fake_training["network_config"] == settings
    of_one = {read_dataset(dataset).name: AUGMENTATIONS["mild"]}
    assert fake_training["fit"].set_augmentations == of_one
    assert "validation error 1" in output.err
    assert "loss 0.5" in output.err
    assert json.loads(output.out)["path"] == str(out)


def test_train_tells_of_images_without_labels(fake_training, dataset, tmp_path, capsys):
    first = sorted((dataset / "dots").iterdir())[0]
    first.unlink()
    assert run(["train", str(dataset), "--out", str(tmp_path / "mine"), "--steps", "3"]) == 0
    assert f"no labels and is left out, such as {first.stem}" in capsys.readouterr().err


def test_train_takes_half_an_hour_unless_told(fake_training, dataset, tmp_path):
    assert run(["train", str(dataset), "--out", str(tmp_path / "mine")]) == 0
    assert (fake_training["steps"], fake_training["minutes"]) == (None, 30)
    assert fake_training["fit"] == FitConfig()


def test_a_training_that_starts_from_a_model_goes_slower(fake_training, dataset, tiny, tmp_path):
    arguments = ["train", str(dataset), "--out", str(tmp_path / "mine"), "--start", str(tiny)]
    assert run(arguments) == 0
    assert fake_training["fit"].learning_rate == STARTED_RATE < FitConfig.learning_rate


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--steps", "5", "--minutes", "1"], "together"),
        (["--steps", "0"], "0 steps"),
        (["--minutes", "-1"], "-1 minutes"),
        (["--minutes", "nan"], "nan minutes"),
        (["--val", "nowhere"], "nowhere"),
        (["--weight", "blobs"], "--weight blobs cannot be used"),
        (["--weight", "blobs=much"], "blobs=much"),
        (["--weight", "blobs=0"], "blobs=0"),
        (["--weight", "blobs=inf"], "blobs=inf"),
        (["--weight", "elsewhere=2"], "'elsewhere'"),
        (["--learning-rate", "0"], "--learning-rate 0 cannot be used"),
        (["--learning-rate", "nan"], "--learning-rate nan"),
        (["--augmentation", "much"], "full, mild, slight"),
        (["--setting", "width"], "such as width=0.25"),
        (["--setting", "=3"], "such as width=0.25"),
        (["--augmentation", "elsewhere=mild"], "'elsewhere'"),
        (["--augmentation", "mild", "--augmentation", "full"], "as in vgg=full"),
        (["--augmentation", "a=mild", "--augmentation", "a=full"], "'mild' and 'full' for 'a'"),
    ],
)
def test_train_refuses_wrong_arguments(fake_training, dataset, tmp_path, capsys, options, words):
    assert run(["train", str(dataset), "--out", str(tmp_path / "mine"), *options]) == 2
    assert words in sentence(capsys.readouterr().err)
    assert not (tmp_path / "mine").exists()
    assert fake_training == {}


@pytest.mark.parametrize("setting", ["colour=3", "prototypes=many", "widths=3", "depth=-1"])
def test_train_refuses_settings_that_make_no_network(dataset, tmp_path, capsys, setting):
    arguments = ["train", str(dataset), "--out", str(tmp_path / "mine"), "--steps", "1"]
    assert run([*arguments, "--network", "tally", "--setting", setting]) == 2
    assert "'tally'" in sentence(capsys.readouterr().err)
    assert not (tmp_path / "mine").exists()


def test_train_refuses_an_unknown_network(dataset, tmp_path, capsys):
    arguments = ["train", str(dataset), "--out", str(tmp_path / "mine"), "--steps", "1"]
    assert run([*arguments, "--network", "brain"]) == 2
    assert "brain" in sentence(capsys.readouterr().err)


@pytest.mark.parametrize(("stop_at", "words"), [(3, "can be used"), (1, "before there was")])
def test_ctrl_c_says_where_the_model_lies(fake_training, dataset, tmp_path, capsys, stop_at, words):
    fake_training["stop_at"] = stop_at
    out = tmp_path / "mine"
    assert run(["train", str(dataset), "--out", str(out), "--steps", "3"]) == 130
    text = capsys.readouterr().err
    assert words in text
    assert (str(out) in text) == out.exists() == (stop_at == 3)


def test_an_error_is_never_swallowed(monkeypatch):
    def broken():
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(zoo, "available", broken)
    with pytest.raises(RuntimeError, match="a defect of ours"):
        run(["models"])


def test_a_user_error_is_one_line(monkeypatch, capsys):
    def refusing():
        raise UserError("first\nsecond")

    monkeypatch.setattr(zoo, "available", refusing)
    assert run(["models"]) == 2
    assert sentence(capsys.readouterr().err) == "first second"


# ---- time that is left ----


def test_the_time_left_is_that_of_the_part_that_is_told(monkeypatch):
    """Parts take turns: weights are finished in the middle of a training."""
    from celltally.cli import learning

    now = [0.0]
    monkeypatch.setattr(learning.time, "monotonic", lambda: now[0])
    clock = learning._Clock(None)

    def tell(seconds, done, total, message):
        now[0] += seconds
        return clock.tell(Progress(done, total, message)).rpartition(" · ")[2]

    texts = [tell(1, step, 1000, "training") for step in range(1, 101)]
    assert texts[-1] == "15 min left of this part"
    assert [tell(2, step, 60, "refitting") for step in range(1, 61)][
        29
    ] == "1 min left of this part"
    assert tell(1, 101, 1000, "training") == "15 min left of this part"
    # The next time a part begins its time begins, too.
    assert tell(60, 1, 60, "refitting") == "59 min left of this part"
