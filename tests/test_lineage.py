import json
from dataclasses import replace

import pytest

from celltally import zoo
from celltally.card import render_card
from celltally.cli import run
from celltally.lineage import Version, errors_of, lineages, origin_of
from celltally.model import Model
from celltally.networks import build
from celltally.record import Learned, ModelRecord, TrainingSet
from celltally.types import Calibration

LEARNED = Learned(
    project="Wells",
    by=("A. Person", "B. Person"),
    date="2024-05-06T07:08+00:00",
    images=3,
    regions=7,
    stated=0,
    excluded=0,
    dots=1410,
    corrected=33,
    kept_back=2,
    audits=0,
    helped=True,
    metrics={"mae_before": 9.5, "mae_after": 3.0},
)


def record(name, sha=None, parent=None, **details):
    return ModelRecord(
        name, "tally", {}, 12.0, {}, 2, 48, 10, sha256=sha or f"sha of {name}", parent=parent,
        **details,
    )  # fmt: skip


def child(name, parent, date=LEARNED.date, **details):
    learned = replace(LEARNED, date=date)
    return record(name, parent=f"sha of {parent}", learned=learned, **details)


def drawn(versions):
    """Names, nested; a star where the model is no longer there."""
    return [
        (("" if v.there else "*") + (v.record.name if v.record else v.sha256), drawn(v.children))
        for v in versions
    ]


def test_versions_stand_below_what_they_were_made_from():
    records = [
        record("general"),
        child("b", "general", "2024-05-07T00:00+00:00"),
        child("a", "b"),
        record("other"),
        child("c", "general", "2024-05-01T00:00+00:00"),
    ]
    expected = [("general", [("c", []), ("b", [("a", [])])]), ("other", [])]
    assert drawn(lineages(records)) == expected
    assert lineages(records)[0].record is records[0]


def test_the_order_of_the_records_decides_that_of_the_trees_only():
    records = [child("a", "b"), record("other"), child("b", "general"), record("general")]
    assert drawn(lineages(records)) == [("general", [("b", [("a", [])])]), ("other", [])]


def test_parents_that_are_gone_stand_above_what_they_left():
    records = [child("a", "gone"), record("other"), child("b", "gone")]
    assert drawn(lineages(records)) == [
        ("*sha of gone", [("a", []), ("b", [])]),
        ("other", []),
    ]
    assert lineages(records)[0] == Version(
        "sha of gone", None, False, lineages(records)[0].children
    )


def test_copies_stand_below_their_original():
    told = {"calibrated from": "mine (calibration abc)"}
    records = [
        record("copy", sha="sha of mine", parent="sha of general", training=told),
        child("mine", "general"),
        child("younger", "mine"),
        record("general"),
    ]
    expected = [("general", [("mine", [("copy", []), ("younger", [])])])]
    assert drawn(lineages(records)) == expected


def test_no_models():
    assert lineages([]) == ()


@pytest.mark.parametrize("names", [("a",), ("a", "b"), ("a", "b", "c")])
def test_records_that_name_each_other(names):
    records = [child(name, names[i - 1]) for i, name in enumerate(names)]
    trees = lineages([*records, record("other"), child("below", "a")])

    def flat(versions):
        return [name for v in versions for name in (v.record.name, *flat(v.children))]

    assert sorted(flat(trees)) == sorted([*names, "other", "below"])


def test_what_is_said_of_where_a_model_comes_from():
    assert origin_of(child("a", "b")) == ("7 regions, 1,410 dots of Wells, by A. Person, B. Person")
    little = replace(LEARNED, project="", by=(), regions=1, dots=1, stated=2)
    assert origin_of(record("a", learned=little)) == "1 region, 1 dot, 2 stated counts"
    sets = (TrainingSet("x", 3, "CC0", ""), TrainingSet("y", 4, "CC0", ""))
    assert origin_of(record("a", training_data=sets)) == "trained on 7 images of 2 data sets"
    assert "random" in origin_of(record("a"))
    copied = record("a", training={"calibrated from": "b (calibration none)"})
    assert origin_of(copied) == "calibrated from b (calibration none)"


@pytest.mark.parametrize(
    ("metrics", "errors"),
    [
        ({}, None),
        ({"mae_before": 1.0}, None),
        ({"mae_after": 3.0}, (None, 3.0)),
        ({"mae_before": 9.5, "mae_after": 3.0}, (9.5, 3.0)),
        ({"audit_mae_before": 2.0, "audit_mae_after": 0.0}, (2.0, 0.0)),
        ({"mae_before": 9.0, "mae_after": 3.0, "audit_mae_before": 2.0, "audit_mae_after": 1.0},
         (2.0, 1.0)),
    ],
)  # fmt: skip
def test_errors_before_and_after(metrics, errors):
    assert errors_of(replace(LEARNED, metrics=metrics)) == errors


# ---- celltally models --tree ------------------------------------------------


@pytest.fixture
def own(tmp_path, monkeypatch, tiny_model, tiny_config):
    """A model and its child, of which the child alone is kept."""
    monkeypatch.setattr(zoo, "shipped_models_dir", lambda: tmp_path / "shipped")
    monkeypatch.setattr(zoo, "user_models_dir", lambda: tmp_path / "own")
    parent = tiny_model.save(tmp_path / "shipped" / "general")
    child = Model.from_network(
        build("tally", tiny_config), name="mine", diameter_px=12.0, base=parent,
        parent=parent.sha256, learned=LEARNED,
    )  # fmt: skip
    child.save(tmp_path / "own" / "mine")
    return tmp_path


def told(capsys, *arguments):
    assert run(["models", "--tree", *arguments]) == 0
    return capsys.readouterr().out


def test_tree_in_a_pipe(own, capsys):
    first, second = told(capsys).splitlines()
    assert first.startswith("general\t")
    name, sha, date, origin, error = second.split("\t")
    assert (name, date, error) == ("  mine", "2024-05-06 07:08", "error 9.5 → 3")
    assert len(sha) == 12
    assert origin == "7 regions, 1,410 dots of Wells, by A. Person, B. Person"


def test_a_model_from_nothing_has_an_error_after_alone(tmp_path, tiny_model, monkeypatch, capsys):
    monkeypatch.setattr(zoo, "shipped_models_dir", lambda: tmp_path / "shipped")
    monkeypatch.setattr(zoo, "user_models_dir", lambda: tmp_path / "own")
    learned = replace(LEARNED, helped=None, metrics={"mae_after": 2.0})
    made = Model.from_network(tiny_model.network, name="new", diameter_px=12.0, learned=learned)
    made.save(tmp_path / "own" / "new")
    assert told(capsys).splitlines()[0].endswith("\terror 2")
    (new,) = json.loads(told(capsys, "--json"))
    assert (new["error_before"], new["error_after"], new["helped"]) == (None, 2.0, None)


def test_tree_for_programs(own, capsys):
    (general,) = json.loads(told(capsys, "--json"))
    assert (general["name"], general["there"], general["base"]) == ("general", True, None)
    (mine,) = general["children"]
    assert mine["children"] == []
    assert mine["base"] == general["sha256"]
    assert mine["by"] == ["A. Person", "B. Person"]
    assert (mine["regions"], mine["dots"]) == (7, 1410)
    assert (mine["error_before"], mine["error_after"], mine["helped"]) == (9.5, 3.0, True)
    assert mine["path"] == str(own / "own" / "mine")


def test_a_parent_that_lives_on_as_a_base_keeps_its_name(own, capsys):
    (own / "shipped").rename(own / "elsewhere")
    first, second = told(capsys).splitlines()
    assert first.startswith("general\t")
    assert first.endswith("\tno longer there")
    assert second.startswith("  mine\t")
    (general,) = json.loads(told(capsys, "--json"))
    assert not general["there"]
    assert general["path"] is None


def test_tree_on_a_terminal(own, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    lines = told(capsys).splitlines()
    assert "general" in lines[0]
    assert lines[1].startswith("└── ")
    assert "mine" in lines[1]
    assert "error 9.5 → 3" in lines[1]


# ---- the card ---------------------------------------------------------------


def test_the_card_of_a_child(own):
    text = (own / "own" / "mine" / "README.md").read_text()
    general = zoo.load("general")
    assert "## Learned from corrections\n" in text
    assert f"- Made from: `{general.sha256}` (general)\n" in text
    assert (
        "- Learned on 2024-05-06T07:08+00:00 from 7 regions with 1,410 dots (33 added, moved or "
        "removed by hand), in 3 images of Wells\n" in text
    )
    assert "- Reviewed by: A. Person, B. Person\n" in text
    assert (
        "- Mean error on 2 reviewed regions that taught nothing: 9.5 cells before, 3 after\n"
        in text
    )
    assert f"are counted by general (`{general.sha256}`)" in text
    assert text.count("Made from") == 1
    assert "Learned from corrections" not in (own / "shipped/general/README.md").read_text()


@pytest.mark.parametrize(
    ("details", "words"),
    [
        (
            {"helped": None, "kept_back": 0, "audits": 0, "metrics": {}},
            "How well it counts is not known: nothing was kept back",
        ),
        ({"helped": False}, "It does not seem to count better"),
        ({"new_prototypes": (32, 33)}, "- New prototypes: p32, p33"),
        ({"stated": 1}, ", 1 region with a stated count"),
        ({"excluded": 2}, ", 2 excluded regions"),
        (
            {"audits": 1, "metrics": {"audit_mae_before": 4.0, "audit_mae_after": 2.5}},
            "on 1 random audit region that taught nothing: 4 cells before, 2.5 after",
        ),
    ],
)
def test_the_card_says_how_it_went(tiny_model, tmp_path, details, words):
    record = replace(tiny_model.record, learned=replace(LEARNED, **details))
    model = replace(tiny_model, record=record).with_calibration(
        Calibration(1.0, 0.0, 1.0, (1.0,), 1, 1, "2024-05-06")
    )
    model.save(tmp_path / "mine")
    assert words in (tmp_path / "mine" / "README.md").read_text()


def test_the_card_of_a_model_from_nothing_tells_its_error(tiny_model):
    """There is no error before, and none to be better than."""
    learned = replace(LEARNED, helped=None, metrics={"mae_after": 1.25})
    text = render_card(replace(tiny_model.record, learned=learned), None)
    assert "- Mean error on 2 reviewed regions that taught nothing: 1.25 cells\n" in text
    assert "not known" not in text
    assert "better" not in text


def test_figures_that_were_measured_with_the_base_are_its(tiny_model):
    record = replace(tiny_model.record, learned=LEARNED, metrics={"cells": {"mae": 2.0}})
    base = replace(tiny_model.record, name="general")
    assert "They are those of general, which counts images like these." in render_card(
        record, None, base
    )
    assert "smallest count error" in render_card(replace(record, learned=None), None)
