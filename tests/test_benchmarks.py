"""The table of accuracies: rows are measured once, kept, and told apart."""

import json
import re
import shutil
from importlib import import_module
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest

from celltally.errors import UserError
from celltally.io import read_image
from celltally.learn import train
from celltally.learn.data import read_dataset, sample_dots
from celltally.types import Progress

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def accuracy(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module("accuracy")


@pytest.fixture
def tables(accuracy):
    return import_module("accuracy_lib.tables")


@pytest.fixture
def data(dataset_folder, tmp_path):
    """Two sets; one has no dots."""
    for name, labels in (("blobs", "dots"), ("bulk", "counts")):
        for part, counts in (("train", (3, 6, 5)), ("val", (4, 7))):
            folder = tmp_path / "data" / name / part
            dataset_folder(f"{name}-{part}", counts, folder=folder, labels=labels)
    return tmp_path / "data"


@pytest.fixture
def model(tiny_model, tmp_path):
    tiny_model.save(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def trainings(tiny_model, monkeypatch):
    """Trainings that are over at once; which seeds they were given."""
    seeds = []

    def fake(data, *, out, seed, steps, **options):
        assert [folder.name for folder in data] == ["train"]
        yield Progress(1, steps, "training")
        seeds.append(seed)
        return tiny_model.save(out)

    monkeypatch.setattr(train, "iter_train", fake)
    return seeds


@pytest.fixture
def run(accuracy, data, tmp_path, capsys):
    """Run the program; its exit code, its table's lines and what else it says."""

    def start(*words, out="out"):
        code = accuracy.main(["--data", str(data), "--out", str(tmp_path / out), *map(str, words)])
        said = capsys.readouterr()
        return code, said.out.splitlines()[2:], said.err

    return start


def systems(lines):
    return [tuple(cell.strip() for cell in line.split("|")[1:5]) for line in lines]


def test_everything_stands_in_one_table(run, model, trainings, tmp_path):
    code, lines, _ = run(
        *("--models", model, "--networks", "tally", "--steps", 5, "--seeds", "0,1"),
        *("--baselines", "maxima,watershed", "--tuning-images", 2),
    )
    assert code == 0
    assert systems(lines[:4]) == [
        ("blobs val", "2", "tiny", "–"),
        ("blobs val", "2", "tally, 5 steps", "2"),
        ("blobs val", "2", "local maxima, tuned", "2"),
        ("blobs val", "2", "watershed, tuned", "2"),
    ]
    assert len(lines) == 8
    assert trainings == [0, 1, 0, 1]
    out = tmp_path / "out"
    assert (out / "accuracy.md").read_text().splitlines()[2:] == lines
    table = pd.read_csv(out / "accuracy.csv", keep_default_na=True)
    assert len(table) == 14
    assert table.groupby("kind")["seed"].count().to_dict() == {
        "baseline": 8,
        "model": 0,
        "network": 4,
    }
    figures = ["mae", "rmse", "mre", "bias", "slope", "r2", "train_minutes", "mpx_per_s"]
    baselines = table[table["kind"] == "baseline"]
    assert baselines[figures].notna().all(axis=None)
    assert baselines[["coverage", "interval_score", "parameters"]].isna().all(axis=None)
    assert (table["f1"].isna() == (table["set"] == "bulk")).all()
    assert (table[table["kind"] != "baseline"][["parameters", "mpx_per_s"]] > 0).all(axis=None)
    assert baselines["mae"].max() <= 1


def test_a_finished_row_is_not_measured_again(run, model, trainings, monkeypatch, accuracy):
    words = ("--sets", "blobs", "--networks", "tally", "--steps", 5, "--baselines", "watershed")
    _, first, _ = run(*words)
    monkeypatch.setattr(accuracy.Job, "measure", None)
    code, again, said = run(*words)
    assert (code, again) == (0, first)
    assert said.count("is there already") == 2
    assert trainings == [0]


@pytest.mark.parametrize("change", ["seed", "budget", "data", "split"])
def test_what_a_row_depends_on(run, trainings, data, change):
    words = ["--sets", "blobs", "--networks", "tally", "--steps", 5]
    run(*words)
    if change == "seed":
        words += ["--seeds", 1]
    elif change == "budget":
        words[-1] = 6
    elif change == "split":
        words += ["--split", "train"]
    else:
        (data / "blobs" / "val" / "dots" / "blobs-val-0.csv").write_text("y,x\n1,1\n")
    _, lines, said = run(*words)
    assert "is there already" not in said
    # New labels take the old row's place; a seed adds to its line, the others add a line.
    assert len(lines) == (1 if change in {"seed", "data"} else 2)
    # What was learned does not depend on what is counted.
    assert len(trainings) == (2 if change in {"seed", "budget"} else 1)


def test_other_weights_are_another_row(run, model, tiny_model, tmp_path):
    _, first, _ = run("--sets", "blobs", "--models", model)
    import torch

    with torch.no_grad():
        for parameter in tiny_model.network.parameters():
            parameter.mul_(1.1)
    from celltally.model import Model

    shutil.rmtree(model)
    Model.from_network(tiny_model.network, name="tiny", diameter_px=12.0).save(model)
    _, second, said = run("--sets", "blobs", "--models", model)
    assert "already" not in said
    assert len(second) == 1
    assert first != second


def test_the_diameter_may_be_estimated(run, model):
    run("--sets", "blobs", "--models", model)
    _, lines, _ = run("--sets", "blobs", "--models", model, "--diameter", "auto")
    assert [name for *_, name, _ in systems(lines)] == ["tiny", "tiny, diameter estimated"]


def test_an_interrupted_run_keeps_its_rows_and_goes_on(run, trainings, monkeypatch, tmp_path):
    words = ("--sets", "blobs", "--networks", "tally", "--steps", 5, "--seeds", "0,1,2")
    whole = train.iter_train

    def stopped(data, *, out, seed, **options):
        if seed == 1:
            out.mkdir()
            (out / "model.json").write_text("the best so far")
            raise KeyboardInterrupt
        return (yield from whole(data, out=out, seed=seed, **options))

    monkeypatch.setattr(train, "iter_train", stopped)
    code, lines, said = run(*words)
    assert (code, len(lines)) == (130, 1)
    assert "goes on" in said
    assert trainings == [0]
    monkeypatch.setattr(train, "iter_train", whole)
    code, lines, said = run(*words)
    assert (code, systems(lines)[0][-1]) == (0, "3")
    assert said.count("already") == 1
    assert trainings == [0, 1, 2]
    assert len(list((tmp_path / "out" / "networks").iterdir())) == 3


def test_a_training_is_kept_though_its_row_is_lost(run, trainings, tmp_path):
    words = ("--sets", "blobs", "--networks", "tally", "--steps", 5)
    run(*words)
    shutil.rmtree(tmp_path / "out" / "rows")
    assert run(*words)[0] == 0
    assert trainings == [0]


def test_a_row_that_fails_does_not_stop_the_others(run, data):
    for path in (data / "blobs" / "train" / "images").iterdir():
        path.write_bytes(b"no picture")
    code, lines, said = run("--baselines", "maxima")
    assert code == 1
    assert [name for name, *_ in systems(lines)] == ["bulk val"]
    assert "Error: blobs val · local maxima, tuned · seed 0:" in said


def test_an_image_that_fails_is_told(run, data):
    (data / "blobs" / "val" / "images" / "blobs-val-1.png").write_bytes(b"no picture")
    code, lines, said = run("--sets", "blobs", "--baselines", "maxima")
    assert code == 1
    assert systems(lines)[0][1] == "1"
    assert "Error: blobs-val-1.png" in said


def test_plots_of_each_set(run, model, tmp_path):
    pytest.importorskip("matplotlib")
    run("--models", model, "--baselines", "maxima")
    plots = sorted((tmp_path / "out" / "plots").iterdir())
    assert [path.name for path in plots] == ["blobs-val.png", "bulk-val.png"]
    assert iio.imread(plots[0]).shape[1] > 900  # two panels


def test_the_table_of_a_document_is_replaced(run, tables, tmp_path):
    path = tmp_path / "doc.md"
    path.write_text(f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n")
    words = ("--sets", "blobs", "--docs", path)
    assert run(*words, "--baselines", "maxima")[0] == 0
    text = path.read_text()
    assert text.startswith(f"before\n{tables.BEGIN}\n\n| set | images |")
    assert text.endswith(f"|\n\n{tables.END}\nafter\n")
    assert "local maxima" in text
    assert "old" not in text
    assert run(*words)[0] == 0  # nothing to measure: the same table
    assert path.read_text() == text
    path.write_text("no marks")
    code, _, said = run(*words)
    assert (code, "has no place for the table" in said) == (2, True)
    assert path.read_text() == "no marks"


def test_the_docs_have_a_place_for_the_table(tables):
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert text.count(tables.BEGIN) == text.count(tables.END) == 1
    assert 0 < text.index(tables.BEGIN) < text.index(tables.END)


def test_seeds_are_summed_up(tables):
    row = dict.fromkeys(tables.CSV_COLUMNS, None)
    row |= {"set": "s", "split": "val", "kind": "network", "system": "net", "n": 4, "seed": 0}
    rows = [{**row, "seed": i, "mae": mae, "mre": 0.25} for i, mae in enumerate((1.0, 2.0, 3.0))]
    (line,) = tables.markdown(rows).splitlines()[2:]
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells[:7] == ["s val", "4", "net", "3", "2.00 ± 1.00", "–", "25 %"]
    assert set(cells[7:]) == {"–"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--baselines", "guess"], "no baseline 'guess'; choose among maxima, watershed"),
        (["--baselines", "maxima", "--tuning-images", "0"], "--tuning-images 0"),
        (["--baselines", "maxima", "--seeds", "0,one"], "the seed 'one'"),
        (["--baselines", "maxima", "--sets", "nowhere"], "nowhere"),
        (["--baselines", "maxima", "--split", "test"], "no folder in .* has a part 'test'"),
        (["--networks", "tally"], "steps or of minutes"),
        (["--networks", "tally", "--steps", "1", "--minutes", "1"], "steps or of minutes"),
        (["--networks", "nobody", "--steps", "1"], "no network 'nobody'"),
        (["--models", "nobody"], "no model 'nobody'"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_measured(
    run, accuracy, monkeypatch, words, told
):
    monkeypatch.setattr(accuracy.Job, "measure", None)
    code, lines, said = run(*words)
    assert code == 2
    assert lines == []
    assert re.search(told, said)


def test_two_models_of_one_name(run, model, tmp_path):
    shutil.copytree(model, tmp_path / "other" / "tiny")
    code, _, said = run("--models", f"{model},{tmp_path / 'other' / 'tiny'}")
    assert code == 2
    assert "two models are called tiny" in said


def test_a_damaged_row_is_named(run, tmp_path):
    run("--sets", "blobs", "--baselines", "maxima")
    (path,) = (tmp_path / "out" / "rows").glob("*.json")
    path.write_text(json.dumps({"set": "blobs"}))
    code, _, said = run("--sets", "blobs", "--baselines", "maxima")
    assert code == 2
    assert f"{path} is damaged" in said


def test_a_network_is_trained_with_its_settings_and_told_apart_by_them(accuracy, data, tmp_path):
    two = "csrnet:width=0.03125,csrnet:width=0.03125:density_weight=50"
    options = ["--networks", two, "--steps", "1", "--sets", "blobs", "--out", str(tmp_path / "out")]
    assert accuracy.main(["--data", str(data), *options]) == 0
    table = pd.read_csv(tmp_path / "out" / "accuracy.csv")
    assert list(table["system"]) == [
        "csrnet (width 0.03125 density_weight 50), 1 steps",
        "csrnet (width 0.03125), 1 steps",
    ]


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("nothing", "there is no network 'nothing'"),
        ("csrnet:wide=1", "has no setting 'wide'"),
        ("csrnet:1", "give NAME=VALUE"),
    ],
)
def test_networks_that_cannot_be_built_are_refused(
    accuracy, data, tmp_path, capsys, network, words
):
    options = ["--networks", network, "--steps", "1", "--out", str(tmp_path / "out")]
    assert accuracy.main(["--data", str(data), *options]) == 2
    assert words in capsys.readouterr().err


@pytest.fixture
def prepare(accuracy):
    return import_module("accuracy_lib.protocols").prepare


def test_quarters_share_the_dots_and_keep_their_places(prepare, dataset_folder, tmp_path):
    folder = tmp_path / "cells"
    dataset_folder("cells", [5, 8], folder=folder / "val")
    names = sorted(path.name for path in (folder / "val" / "images").iterdir())
    stated = "".join(f"{name},99\n" for name in names)
    (folder / "val" / "counts.csv").write_text("image,count\n" + stated)
    place = prepare("dcl", folder, ["val"], tmp_path / "out")
    before, after = read_dataset(folder / "val"), read_dataset(place / "val")
    assert place.name == "cells-dcl"
    assert len(after.samples) == 8
    assert {sample.group for sample in after.samples} == {s.group for s in before.samples}
    assert all(sample.count is None for sample in after.samples)
    whole = read_image(before.samples[0].image).data.squeeze()
    scale = 256 / (np.array(whole.shape[:2]) / 2)
    assert after.diameter_px == pytest.approx(before.diameter_px * scale.prod() ** 0.5, abs=0.01)
    for i, sample in enumerate(before.samples):
        quarters = after.samples[4 * i : 4 * i + 4]
        assert all(iio.imread(q.image).shape[:2] == (256, 256) for q in quarters)
        corners = [(0, 0), (0, 256), (256, 0), (256, 256)]
        moved = [sample_dots(q).yx + corner for q, corner in zip(quarters, corners, strict=True)]
        expected = (sample_dots(sample).yx + 0.5) * scale - 0.5
        assert np.allclose(
            sorted(np.concatenate(moved).tolist()), sorted(expected.tolist()), atol=1e-6
        )


def test_a_protocol_keeps_counts_but_cannot_divide_them(prepare, dataset_folder, tmp_path):
    dataset_folder("bulk", [5, 8], folder=tmp_path / "bulk" / "val", labels="counts")
    place = prepare("hernandez", tmp_path / "bulk", ["val"], tmp_path / "out")
    samples = read_dataset(place / "val").samples
    assert [sample.count for sample in samples] == [5, 8]
    assert all(sample.in_focus for sample in samples)
    assert iio.imread(samples[0].image).shape[:2] == (192, 256)
    with pytest.raises(UserError, match="counts of its quarters are not known"):
        prepare("dcl", tmp_path / "bulk", ["val"], tmp_path / "out")


def test_networks_of_a_protocol_see_its_pixels(accuracy, data, tmp_path, trainings, monkeypatch):
    scales = []
    inner = train.iter_train

    def fake(folders, *, diameter_px, **options):
        assert diameter_px == read_dataset(folders[0]).diameter_px
        scales.append(diameter_px)
        return (yield from inner(folders, **options))

    monkeypatch.setattr(train, "iter_train", fake)
    options = [
        "--networks",
        "tally",
        "--steps",
        "3",
        "--sets",
        "blobs",
        "--protocol",
        "countxplain",
    ]
    assert accuracy.main(["--data", str(data), *options, "--out", str(tmp_path / "out")]) == 0
    assert len(scales) == 1
    assert set(pd.read_csv(tmp_path / "out" / "accuracy.csv")["set"]) == {"blobs-countxplain"}
    options[-1] = "nobody"
    assert accuracy.main(["--data", str(data), *options, "--out", str(tmp_path / "out")]) == 2


def test_the_mean_count_of_train_is_what_anything_must_beat(accuracy, data, tmp_path):
    out, docs = tmp_path / "out", tmp_path / "docs.md"
    docs.write_text("<!-- mine: begin --><!-- mine: end -->")
    options = ["--baselines", "mean", "--out", str(out), "--docs", str(docs), "--table", "mine"]
    assert accuracy.main(["--data", str(data), *options]) == 0
    table = pd.read_csv(out / "accuracy.csv").set_index("set")
    mean = (3 + 6 + 5) / 3
    assert table["mae"]["bulk"] == pytest.approx((mean - 4 + 7 - mean) / 2)
    assert table["bias"]["blobs"] == pytest.approx(mean - 5.5)
    assert "mean count of train" in docs.read_text()


def test_a_protocol_keeps_groups_and_focus(prepare, dataset_folder, tmp_path):
    stems = ["w1-a_F1_s1", "w1-b_F23_s2", "w2-c_F1_s1"]
    dataset_folder("plates", [5, 8, 3], stems=stems, group_pattern=r"(w\d)",
                   in_focus_pattern="_F1_", folder=tmp_path / "plates" / "val")  # fmt: skip
    before = read_dataset(tmp_path / "plates" / "val").samples
    place = prepare("countxplain", tmp_path / "plates", ["val"], tmp_path / "out")
    after = read_dataset(place / "val").samples
    assert [(s.group, s.in_focus) for s in after] == [(s.group, s.in_focus) for s in before]
    assert [s.in_focus for s in after] == [True, False, True]


def test_two_budgets_are_refused(accuracy, data, tmp_path, capsys):
    options = ["--networks", "tally", "--minutes", "1", "--cpu-minutes", "1"]
    assert accuracy.main(["--data", str(data), *options, "--out", str(tmp_path / "out")]) == 2
    assert "leave one out" in capsys.readouterr().err
