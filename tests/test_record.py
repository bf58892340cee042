import json
from dataclasses import asdict, fields, replace

import pytest

from celltally.card import render_card
from celltally.errors import UserError
from celltally.published import PUBLISHED
from celltally.record import (
    FORMAT_VERSION,
    Learned,
    ModelRecord,
    TrainingSet,
    canonical_json,
    read_calibration,
    read_prototypes,
    read_record,
    sha256_of,
)
from celltally.types import Appearances, Calibration

WEIGHTS = b"not looked into here"


@pytest.fixture
def folder(tmp_path):
    """A model folder as far as the record goes."""
    path = tmp_path / "mine"
    path.mkdir()
    (path / "weights.safetensors").write_bytes(WEIGHTS)
    record = ModelRecord(
        name="mine",
        network="tally",
        config={"depth": 8},
        diameter_px=12.0,
        preprocessing={},
        stride=2,
        halo=48,
        parameters=1000,
        training_data=(TrainingSet("a", 3, "CC0 1.0", "0" * 64),),
        metrics={"a": {"n": 3, "mae": 1.5}},
        sha256="0" * 64,
        files={"weights.safetensors": sha256_of(WEIGHTS)},
    )
    (path / "model.json").write_text(record.to_json())
    return path


def change(folder, **entries):
    path = folder / "model.json"
    content = json.loads(path.read_text()) | entries
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))


def test_round_trip(folder):
    record = read_record(folder)
    assert record.path == folder
    assert record.name == "mine"
    assert record.training_data == (TrainingSet("a", 3, "CC0 1.0", "0" * 64),)
    assert record.licence == "a: CC0 1.0"
    assert record.format_version == FORMAT_VERSION
    assert not record.is_calibrated
    assert json.loads(record.to_json()) == json.loads((folder / "model.json").read_text())
    assert "path" not in json.loads(record.to_json())


def test_a_copied_folder_has_its_own_name(folder):
    copy = folder.rename(folder.with_name("yours"))
    assert read_record(copy).name == "yours"


@pytest.mark.parametrize("name", ["net.pt", "net.pth", "net.pkl", "last.ckpt"])
def test_pickles_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04.")
    with pytest.raises(UserError, match="pickled checkpoint"):
        read_record(tmp_path / name)


def test_folders_that_are_no_model(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=r"has no model\.json"):
            read_record(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "\x00", '"format_version"'])
def test_a_damaged_record(folder, text):
    (folder / "model.json").write_text(text)
    with pytest.raises(UserError, match=r"model\.json is damaged"):
        read_record(folder)


def test_a_record_that_is_no_text(folder):
    (folder / "model.json").write_bytes(b"\xff\xfe\x00garbage")
    with pytest.raises(UserError, match="damaged"):
        read_record(folder)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"format_version": FORMAT_VERSION + 1}, "update celltally"),
        ({"format_version": FORMAT_VERSION - 1}, "train the model again"),
        ({"format_version": ...}, "damaged"),
        ({"colour": "red"}, "unknown entry 'colour'"),
        ({"path": "/"}, "unknown entry 'path'"),
        ({"network": ...}, "damaged"),
        ({"training_data": ...}, "damaged"),
        ({"training_data": 3}, "cannot have 3 as 'training_data'"),
        ({"training_data": [{"name": "a"}]}, "as 'training_data'"),
        ({"training_data": {"name": "a"}}, "as 'training_data'"),
        ({"diameter_px": 0}, "diameter 0"),
        ({"diameter_px": -12}, "diameter -12"),
        ({"diameter_px": "12"}, "cannot have '12' as 'diameter_px'"),
        ({"diameter_px": True}, "cannot have True as 'diameter_px'"),
        ({"diameter_px": float("nan")}, "diameter nan"),
        ({"diameter_px": float("inf")}, "diameter inf"),
        ({"diameter_px": 10**400}, "diameter 1000"),
        ({"format_version": float("inf")}, "cannot have inf as 'format_version'"),
        ({"files": ["weights.safetensors"]}, "as 'files'"),
        ({"files": None}, "cannot have None as 'files'"),
        ({"config": []}, "as 'config'"),
        ({"metrics": "good"}, "cannot have 'good' as 'metrics'"),
        ({"metrics": {"a": {"mae": "small"}}}, "as 'metrics'"),
        ({"sample": "x" * 1000 + "y", "network": 3}, "cannot have 3 as 'network'"),
        ({"files": {}}, "lists no weights"),
        ({"sha256": ...}, "states no sha256"),
        ({"sha256": ""}, "states no sha256"),
    ],
    ids=str,
)
def test_records_that_cannot_be_used(folder, entries, words):
    change(folder, **entries)
    with pytest.raises(UserError, match=words):
        read_record(folder)


#: Entries of a record by their type in JSON, and a value of every type.
ENTRIES = {
    "text": ["name", "network", "sample", "parent", "sha256", "created", "celltally"],
    "number": ["diameter_px", "stride", "halo", "parameters", "channels", "format_version"],
    "list": ["training_data", "taught_by", "chosen_by"],
    "table": ["config", "preprocessing", "training", "metrics", "files", "learned"],
}
VALUES = {
    "text": "word",
    "number": 3,
    "list": [3],
    "table": {"a": "word"},
    "truth": True,
    "nothing": None,
}
WRONG = [
    (name, value)
    for kind, names in ENTRIES.items()
    for name in names
    for other, value in VALUES.items()
    if other != kind and not (other == "nothing" and name in {"parent", "halo", "learned"})
]


def test_the_types_of_all_entries_are_known_here():
    names = {f.name for f in fields(ModelRecord)} - {"path"}
    assert names == {name for names in ENTRIES.values() for name in names}


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_an_entry_of_another_type_is_one_sentence(folder, name, value):
    change(folder, **{name: value})
    with pytest.raises(UserError, match=rf"cannot have .* as '{name}'; copy") as caught:
        read_record(folder)
    assert str(folder) in str(caught.value)


LEARNED = Learned(
    project="Wells",
    by=("A. Person",),
    date="2024-05-06T07:08+00:00",
    images=3,
    regions=7,
    stated=1,
    excluded=2,
    dots=410,
    corrected=33,
    kept_back=2,
    audits=0,
    helped=True,
    metrics={"mae_before": 9.5, "mae_after": 3},
    new_prototypes=(32, 33),
    looks=Appearances(("size", "colour"), (0.1, 0.1), ((2.0, 1.0), (2.5, 0.5)), ("a", "b")),
)


@pytest.mark.parametrize("helped", [True, False, None])
def test_what_a_child_learned_from_is_read_as_it_was_written(folder, helped):
    record = replace(read_record(folder), learned=replace(LEARNED, helped=helped))
    (folder / "model.json").write_text(record.to_json())
    assert read_record(folder).learned == record.learned


@pytest.mark.parametrize(
    ("helped", "metrics", "audits", "verdict"),
    [
        (True, {"p": 0.0312}, 0, "It helped"),
        (True, {"p": 0.05}, 0, "It seems to have helped"),
        (True, {}, 0, "It seems to have helped"),
        (False, {"p": 0.001}, 0, "It did not help"),
        (False, {"p": 0.6}, 0, "It does not seem to have helped"),
        # The audits decide, whatever the kept-back regions say.
        (True, {"p": 0.001}, 2, "It seems to have helped"),
        (True, {"p": 0.6, "audit_p": 0.001}, 9, "It helped"),
        (None, {}, 0, "Nothing tells how well it counts"),
        # A model from nothing has no parent to be better than.
        (None, {"mae_after": 3.14}, 0, "It is off by 3.1 cells a region"),
        (None, {"mae_after": 3.14, "audit_mae_after": 4.0}, 2, "It is off by 4.0 cells a region"),
    ],
)
def test_the_verdict_is_as_firm_as_the_evidence(helped, metrics, audits, verdict):
    learned = replace(LEARNED, helped=helped, metrics=metrics, audits=audits)
    assert learned.verdict == verdict
    assert learned.is_firm == (verdict in ("It helped", "It did not help"))


def test_what_taught_may_look_like_nothing(folder):
    change(folder, learned=asdict(replace(LEARNED, looks=None, new_prototypes=())))
    assert read_record(folder).learned == replace(LEARNED, looks=None, new_prototypes=())


def test_a_model_that_learned_nothing_of_a_person_says_nothing_of_it(folder):
    record = read_record(folder)
    assert record.learned is None
    assert "learned" not in json.loads(record.to_json())
    assert not record.has_base


@pytest.mark.parametrize(
    "entries",
    [
        {"images": "3"},
        {"images": True},
        {"helped": "yes"},
        {"helped": 1},
        {"by": "me"},
        {"metrics": {"mae_before": None}},
        {"new_prototypes": [1.5]},
        {"looks": {}},
        {"looks": {"names": ["size"], "least": [0.1], "points": [[1.0, 2.0]], "groups": ["a"]}},
        {"looks": {"names": ["size"], "least": [0.1], "points": [], "groups": []}},
        {"more": 1},
    ],
)
def test_a_child_that_states_nonsense(folder, entries):
    change(folder, learned=asdict(LEARNED) | entries)
    with pytest.raises(UserError, match="copy the model again"):
        read_record(folder)


@pytest.mark.parametrize("content", [b"", WEIGHTS[:-1], b"N" + WEIGHTS[1:]])
def test_an_altered_file(folder, content):
    (folder / "weights.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"weights\.safetensors is not the file"):
        read_record(folder)


def test_a_missing_file(folder):
    (folder / "weights.safetensors").unlink()
    with pytest.raises(UserError, match=r"lacks weights\.safetensors"):
        read_record(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/../../secret"])
def test_files_outside_the_folder(folder, name):
    (folder.parent / "secret").write_bytes(b"s")
    files = {"weights.safetensors": sha256_of(WEIGHTS), name: sha256_of(b"s")}
    change(folder, files=files)
    with pytest.raises(UserError, match="outside its folder"):
        read_record(folder)


def test_links_that_lead_outside(folder):
    (folder.parent / "secret").write_bytes(b"s")
    (folder / "inside").symlink_to(folder.parent / "secret")
    files = {"weights.safetensors": sha256_of(WEIGHTS), "inside": sha256_of(b"s")}
    change(folder, files=files)
    with pytest.raises(UserError, match="outside its folder"):
        read_record(folder)


def test_a_strange_file_name(folder):
    for name in ("a\0b", "a" * 5000, "\ud800"):
        change(folder, files={"weights.safetensors": sha256_of(WEIGHTS), name: "0"})
        with pytest.raises(UserError, match=r"lacks|cannot be read"):
            read_record(folder)


def test_a_record_of_brackets(folder):
    (folder / "model.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="damaged"):
        read_record(folder)


def test_a_long_value_is_shown_in_short(folder):
    change(folder, network=["x" * 1000] * 1000)
    with pytest.raises(UserError) as caught:
        read_record(folder)
    assert len(str(caught.value)) < 400


def test_a_file_that_cannot_be_read(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(UserError, match="Permission denied"):
        read_record(folder)


def test_without_calibration_and_prototypes(folder):
    assert read_calibration(folder) == (None, "")
    assert read_prototypes(folder) == ()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"scores": ["x"]}', '{"scores": 3}'])
def test_a_damaged_calibration(folder, text):
    (folder / "calibration.json").write_text(text)
    with pytest.raises(UserError, match=r"calibration\.json is damaged"):
        read_calibration(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha", "1"),
        ("scores", [0.5, None]),
        ("sets", [3]),
        ("ranges", {"contrast": [1.0]}),
        ("ranges", {"contrast": [1.0, 2.0, 3.0]}),
        ("kind", "exact"),
    ],
)
def test_an_entry_of_a_calibration_of_another_type(folder, name, value):
    calibration = Calibration(1, 0, 1, (1.0,), n=7, groups=4, date="", ranges={"noise": (0, 1)})
    content = asdict(calibration)
    (folder / "calibration.json").write_text(json.dumps(content))
    assert read_calibration(folder)[0] == calibration
    (folder / "calibration.json").write_text(json.dumps(content | {name: value}))
    with pytest.raises(UserError, match=r"calibration\.json is damaged"):
        read_calibration(folder)


NEIGHBOURS = {"names": ["a"], "least": [1.0] * 3, "points": [[1.0] * 3], "surprise": [1.0]}
REGIONS = {"alpha": 1, "beta": 0, "gamma": 1, "bins": [{"low": 0, "scores": [1.0], "groups": 1}]}


APPEARANCES = {"names": ["a", "b"], "least": [0.1, 0.1], "points": [[1.0, 2.0]], "groups": ["x"]}


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("neighbours", NEIGHBOURS | {"surprise": []}),
        ("neighbours", NEIGHBOURS | {"points": [[1.0]]}),
        ("neighbours", NEIGHBOURS | {"names": ["a", "b"]}),
        ("neighbours", {"names": []}),
        ("appearances", APPEARANCES | {"points": []}),
        ("appearances", APPEARANCES | {"points": [[1.0]]}),
        ("appearances", APPEARANCES | {"groups": []}),
        ("appearances", {"names": ["size"]}),
        ("regions", REGIONS | {"bins": []}),
        ("regions", REGIONS | {"bins": [{"low": 5, "scores": [1.0], "groups": 1}]}),
        ("regions", REGIONS | {"bins": [{"low": 0, "scores": [], "groups": 1}]}),
    ],
)
def test_the_parts_of_a_calibration_are_looked_over(folder, entry, value):
    least = {"alpha": 1, "beta": 0, "gamma": 1, "scores": [1.0], "n": 1, "groups": 1, "date": ""}
    path = folder / "calibration.json"
    parts = {"neighbours": NEIGHBOURS, "regions": REGIONS, "appearances": APPEARANCES}
    path.write_text(json.dumps(least | parts))
    calibration, _ = read_calibration(folder)
    assert calibration.appearances == Appearances(("a", "b"), (0.1, 0.1), ((1.0, 2.0),), ("x",))
    assert calibration.neighbours.points == ((1.0, 1.0, 1.0),)
    assert calibration.regions.bins[0].scores == (1.0,)
    path.write_text(json.dumps(least | {entry: value}))
    with pytest.raises(UserError, match="damaged"):
        read_calibration(folder)


@pytest.mark.parametrize("text", ["", "3", '{"a": 1}', "[1]", '[{"kind": "cell"}]'])
def test_damaged_prototypes(folder, text):
    (folder / "prototypes").mkdir()
    (folder / "prototypes" / "prototypes.json").write_text(text)
    with pytest.raises(UserError, match="damaged"):
        read_prototypes(folder)


def test_canonical_json_knows_no_order():
    assert canonical_json({"b": (1, 2), "a": 1}) == canonical_json({"a": 1, "b": [1, 2]})
    assert canonical_json({"a": 1}) == b'{"a":1}'


def test_the_card_says_what_the_record_says(folder):
    text = render_card(read_record(folder), None)
    assert text.startswith("# mine\n")
    assert "| a | 3 | CC0 1.0 |" in text
    assert "| data set | n | mae |" in text
    assert "| a | 3 | 1.5 |" in text
    assert "Not calibrated" in text
    calibration = Calibration(1, 0, 1, (1.0,), n=7, groups=4, date="2024-05-06", sets=("a", "b"))
    text = render_card(read_record(folder), calibration)
    assert "Calibrated on 2024-05-06 with 7 images (4 independent groups; a, b)" in text


def test_the_card_names_a_published_architecture():
    config = {"width": 0.25, "density_weight": 100.0, "pretrained": False}
    record = ModelRecord("m", "csrnet", config, 12.0, {}, 8, 144, 10)
    text = render_card(record, None)
    assert "- Architecture: CSRNet (Li et al. 2018), for comparison\n" in text
    assert "- Paper: Li, Zhang & Chen, “CSRNet:" in text
    assert "- Settings changed from the paper's: a quarter of the channels\n" in text
    assert f"- When to use it: {PUBLISHED['csrnet'].use}\n" in text
    as_published = replace(record, config=config | {"width": 1.0})
    assert "- Settings changed from the paper's: none\n" in render_card(as_published, None)
    for ours in ("tally", "dilated"):
        assert "paper" not in render_card(replace(record, network=ours), None)


def test_the_card_of_a_model_that_learned_nothing():
    record = ModelRecord("m", "tally", {}, 12.0, {}, 2, None, 10, parent="abc")
    text = render_card(record, None)
    assert "the weights are random" in text
    assert "Made from: `abc`" in text
    assert "None were measured" in text
