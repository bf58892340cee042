"""The study of explanations: every variant is trained once, and the tables tell them apart."""

from importlib import import_module
from pathlib import Path

import pytest
import torch

from celltally.learn import train
from celltally.model import Model
from celltally.networks import build
from celltally.types import Progress

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module("explanations")


@pytest.fixture
def data(dataset_folder, tmp_path):
    for part, counts in (("train", (3, 6)), ("val", (4, 7))):
        dataset_folder(f"blobs-{part}", counts, folder=tmp_path / "data" / "blobs" / part)
    return tmp_path / "data"


@pytest.fixture
def trainings(tiny_model, monkeypatch):
    """Trainings that are over at once; which weights they were given, and where."""
    given = []

    def fake(data, *, network, network_config, out, fit, minutes, clock, **options):
        assert clock is not None
        yield Progress(1, 1, "training")
        own = {k: v for k, v in network_config.items() if k.endswith("_weight")}
        given.append((network, minutes, own, (fit.prototype_weight, fit.diversity_weight)))
        return tiny_model.save(out)

    monkeypatch.setattr(train, "iter_train", fake)
    return given


@pytest.fixture
def run(study, data, tmp_path, capsys):
    def start(*words):
        code = study.main(["--data", str(data), "--out", str(tmp_path / "out"), *map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return start


ONE = ("--sets", "blobs", "--cpu-minutes", 0.5)


def test_losses_are_taken_away_where_the_network_has_them(run, trainings):
    """`countxplain` has the weights among its own settings; `tally` learns by the training's."""
    networks = "tally,countxplain:width=0.25"
    code, out, _ = run(*ONE, "--networks", networks)
    assert code == 0
    usual = (0.1, 1.0)
    assert trainings == [
        ("tally", 0.5, {}, usual),
        ("tally", 0.5, {}, (0.1, 0.0)),
        ("tally", 0.5, {}, (0.0, 1.0)),
        ("tally", 0.5, {}, (0.0, 0.0)),
        ("countxplain", 0.5, {}, usual),
        ("countxplain", 0.5, {"diversity_weight": 0.0}, usual),
        ("countxplain", 0.5, {"prototype_weight": 0.0}, usual),
        ("countxplain", 0.5, {"diversity_weight": 0.0, "prototype_weight": 0.0}, usual),
    ]
    table = out.split("\n\n")[1].splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:5]] for line in table[2:]]
    losses = ["full", "no diversity", "no prototype-to-feature", "neither"]
    assert [row[2] for row in rows] == losses * 2
    assert [row[0] for row in rows] == ["countxplain (width 0.25), 0.5 CPU min"] * 4 + [
        "tally, 0.5 CPU min"
    ] * 4


def test_what_is_finished_is_not_done_again(run, trainings, study, monkeypatch):
    _, first, _ = run(*ONE, "--networks", "tally")
    monkeypatch.setattr(study.Job, "measure", None)
    code, again, said = run(*ONE, "--networks", "tally")
    assert (code, again) == (0, first)
    assert said.count("is there already") == 4
    assert len(trainings) == 4


def test_models_are_judged_and_the_tables_stand_in_the_document(run, tiny_model, tmp_path):
    tiny_model.save(tmp_path / "tiny")
    document = tmp_path / "doc.md"
    marks = [f"<!-- {n} table: {m} -->" for n in ("explanations", "ablation") for m in
             ("begin", "end")]  # fmt: skip
    document.write_text("\n".join(["a", *marks[:2], "b", *marks[2:], "c"]))
    code, out, _ = run("--models", f"blobs={tmp_path / 'tiny'}", "--docs", document)
    assert code == 0
    line = next(line for line in out.splitlines() if line.startswith("| `tiny`"))
    assert "| blobs val | 2 |" in line
    assert line in document.read_text()


def test_prototypes_learn_anew_on_a_counter_that_stays(run, tmp_path):
    torch.manual_seed(0)
    counter = build("countxplain", {"width": 1 / 16, "depth": 4})
    Model.from_network(counter, name="counter", diameter_px=12.0).save(tmp_path / "counter")
    code, out, said = run("--counters", f"blobs={tmp_path / 'counter'}:depth=8", "--steps", 3)
    assert code == 0, said
    rows = [line for line in out.splitlines() if line.startswith("| countxplain (depth 8) on")]
    assert len(rows) == 4
    trained = [Model.load(folder) for folder in (tmp_path / "out" / "networks").iterdir()]
    assert {
        (m.network.config.prototype_weight, m.network.config.diversity_weight) for m in trained
    } == {(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)}
    for model in trained:
        assert model.network.config.depth == 8
        assert model.record.training["distinct prototypes before projection"] <= 6
        kept = counter.layers.state_dict()
        assert all(torch.equal(kept[k], v) for k, v in model.network.layers.state_dict().items())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--models", "general"], "give set=model"),
        (["--counters", "countxplain-u2os"], "give set=model"),
        (["--counters", "blobs=u2os-hoechst"], "give a 'countxplain'"),
        (["--networks", "tally"], "give --sets"),
        (["--networks", "nothing", "--sets", "blobs"], "no network 'nothing'"),
        (["--networks", "tally", "--sets", "nowhere"], "nowhere"),
    ],
)
def test_arguments_that_cannot_be_used(run, trainings, words, told):
    code, _, said = run(*words)
    assert code == 2
    assert told in said
    assert trainings == []


def test_the_document_has_a_place_for_both_tables():
    text = (ROOT / "docs" / "explanations.md").read_text(encoding="utf-8")
    for name in ("explanations table", "ablation table"):
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        assert 0 < text.index(begin) < text.index(end)
