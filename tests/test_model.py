import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from celltally import preprocess, scale, zoo
from celltally.errors import UserError
from celltally.model import Model
from celltally.networks import build
from celltally.record import PatchRecord, PrototypeRecord, set_aside, sha256_of
from celltally.types import Calibration

CALIBRATION = Calibration(
    alpha=1.0,
    beta=0.5,
    gamma=0.1,
    scores=(0.2, 1.0, 3.5),
    n=3,
    groups=3,
    date="2024-05-06",
    sets=("a",),
    ranges={"contrast": (0.5, 1.5)},
)


@pytest.fixture
def full_model(tiny_model):
    """With everything that a folder can hold."""
    patch = PatchRecord("a", "a-1.png", 3.5, 4.5, 4.6, "00-cell-0.png")
    hidden = PatchRecord("b", "b-1.png", 1.0, 2.0, 4.0)
    prototypes = (PrototypeRecord("cell", (patch, hidden)), PrototypeRecord("background"))
    model = replace(tiny_model, prototypes=prototypes, pictures={"00-cell-0.png": b"\x89PNG"})
    return model.with_calibration(CALIBRATION)


@pytest.fixture
def folder(full_model, tmp_path):
    full_model.save(tmp_path / "mine")
    return tmp_path / "mine"


def edit_record(folder, change):
    path = folder / "model.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def rewrite(folder, name, data):
    """Change a file and its hash in the record, as somebody would who means it."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    edit_record(folder, lambda c: c["files"].update({name: sha256_of(data)}))


def test_round_trip(full_model, folder):
    model = Model.load(folder)
    assert model.name == "mine"
    assert model.sha256 == full_model.sha256
    assert model.record.path == folder
    assert model.diameter_px == 12.0
    assert model.calibration == CALIBRATION
    assert model.calibration_sha256 == full_model.calibration_sha256
    assert model.prototypes == full_model.prototypes
    assert dict(model.pictures) == dict(full_model.pictures)
    assert not model.network.training
    for (name, a), (_, b) in zip(
        full_model.network.state_dict().items(), model.network.state_dict().items(), strict=True
    ):
        assert torch.equal(a, b), name


def test_saving_what_was_loaded_gives_the_same_folder(folder, tmp_path):
    Model.load(folder).save(tmp_path / "again" / "mine")
    names = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    assert len(names) == 6
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / "again" / "mine" / name).read_bytes()


def test_what_a_folder_holds(folder):
    content = json.loads((folder / "model.json").read_text())
    assert sorted(content["files"]) == [
        "README.md",
        "calibration.json",
        "prototypes/00-cell-0.png",
        "prototypes/prototypes.json",
        "weights.safetensors",
    ]
    for name, digest in content["files"].items():
        assert sha256_of((folder / name).read_bytes()) == digest
    assert content["name"] == "mine"
    assert (folder / "README.md").read_text().startswith("# mine")


def test_weights_are_stored_in_half_precision(full_model, folder):
    size = (folder / "weights.safetensors").stat().st_size
    assert size < 2 * full_model.record.parameters + 8000


# ---- identity ---------------------------------------------------------------


def test_identity_changes_with_weights_config_and_diameter(tiny_config):
    def sha(seed=0, diameter=12.0, **config):
        torch.manual_seed(seed)
        network = build("tally", tiny_config | config)
        return Model.from_network(network, name="m", diameter_px=diameter).sha256

    assert sha() == sha()
    others = {sha(seed=1), sha(diameter=13.0), sha(epsilon=0.02), sha(gain=0.2), sha(context=5)}
    assert len(others | {sha()}) == 6


def test_identity_does_not_change_with_name_calibration_or_place(full_model, tiny_model, tmp_path):
    assert full_model.sha256 == tiny_model.sha256
    assert tiny_model.save(tmp_path / "other").sha256 == tiny_model.sha256
    again = full_model.with_calibration(replace(CALIBRATION, alpha=2.0))
    assert again.sha256 == full_model.sha256
    assert again.calibration_sha256 != full_model.calibration_sha256


def test_identity_does_not_change_with_the_memory_format(tiny_model, tmp_path):
    tiny_model.network.to(memory_format=torch.channels_last)
    assert Model.load(tiny_model.save(tmp_path / "m").record.path).sha256 == tiny_model.sha256


def test_weights_are_rounded_before_they_are_used(tiny_model):
    for tensor in tiny_model.network.state_dict().values():
        assert torch.equal(tensor, tensor.half().float())


# ---- damage -----------------------------------------------------------------


def test_every_altered_byte_of_the_weights_is_noticed(folder):
    path = folder / "weights.safetensors"
    data = path.read_bytes()
    for at in (0, 9, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(UserError, match=r"weights\.safetensors is not the file"):
            Model.load(folder)
    path.write_bytes(data)
    Model.load(folder)


@pytest.mark.parametrize(
    "name", ["weights.safetensors", "calibration.json", "README.md", "prototypes/00-cell-0.png"]
)
def test_every_missing_file_is_noticed(folder, name):
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"lacks {name}"):
        Model.load(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(network="csrnett"), "no network 'csrnett'"),
        (lambda c: c["config"].update(width=3), "no setting 'width'"),
        (lambda c: c["config"].update(prototypes=3), "make no network"),
        (lambda c: c["config"].update(widths=[8, 9]), "does not fit the network"),
        (lambda c: c["config"].update(epsilon=0.5), "another identity"),
        (lambda c: c.update(diameter_px=24.0), "another identity"),
        (lambda c: c.update(sha256="0" * 64), "another identity"),
        (lambda c: c["preprocessing"].update(ceiling=1.0), "another identity"),
        (lambda c: c.update(format_version=99), "update celltally"),
        (lambda c: c.update(colour="red"), "unknown entry 'colour'"),
    ],
    ids=["network", "key", "value", "shapes", "config", "diameter", "sha", "scaling", "new", "odd"],
)
def test_an_altered_record_is_noticed(folder, change, words):
    edit_record(folder, change)
    with pytest.raises(UserError, match=words):
        Model.load(folder)


@pytest.mark.parametrize(
    ("module", "constant", "value", "said"),
    [
        (preprocess, "CEILING", 2.0, "ceiling: 3.0 against 2.0"),
        (preprocess, "CEILING", 9.0, "ceiling: 3.0 against 9.0"),
        (scale, "MARGIN", 64, "margin: 32 against 64"),
    ],
)
def test_a_model_of_another_preprocessing_is_refused(
    folder, monkeypatch, module, constant, value, said
):
    monkeypatch.setattr(module, constant, value)
    with pytest.raises(UserError, match=f"another preprocessing.*{said}"):
        Model.load(folder)


@pytest.mark.parametrize("data", [b"", b"\x00" * 20, b"PK\x03\x04 some zip file", b"\x80\x04K*."])
def test_weights_of_another_kind(folder, data):
    rewrite(folder, "weights.safetensors", data)
    with pytest.raises(UserError, match="does not fit the network"):
        Model.load(folder)


def test_pickled_checkpoints_are_refused(tmp_path):
    path = tmp_path / "net.pt"
    torch.save({"a": torch.ones(2)}, path)
    with pytest.raises(UserError, match="pickled checkpoint"):
        Model.load(path)


@pytest.mark.parametrize(
    "png", ["../../secret.png", "/etc/hostname", "never-was.png", "../model.json"]
)
def test_pictures_that_the_record_does_not_list_are_not_read(folder, png):
    (folder.parent / "secret.png").write_bytes(b"secret")
    path = folder / "prototypes" / "prototypes.json"
    content = json.loads(path.read_text())
    content[0]["patches"][0]["png"] = png
    rewrite(folder, "prototypes/prototypes.json", json.dumps(content).encode())
    with pytest.raises(UserError, match="names the picture"):
        Model.load(folder)


def test_files_that_the_record_does_not_list_are_not_read(tiny_model, folder, tmp_path):
    """A calibration that was dropped into the folder was never verified."""
    plain = tiny_model.save(tmp_path / "plain").record.path
    (plain / "calibration.json").write_bytes((folder / "calibration.json").read_bytes())
    model = Model.load(plain)
    assert model.calibration is None
    assert model.calibration_sha256 == ""


# ---- saving -----------------------------------------------------------------


def test_saving_over_a_model_replaces_it(tiny_model, folder):
    tiny_model.save(folder)
    assert Model.load(folder).calibration is None
    assert not (folder / "calibration.json").exists()
    assert sorted(p.name for p in folder.parent.iterdir()) == ["mine"]


def test_saving_into_an_empty_folder(tiny_model, tmp_path):
    (tmp_path / "empty").mkdir()
    assert tiny_model.save(tmp_path / "empty").name == "empty"


def occupy(place: Path, kind: str) -> None:
    if kind == "file":
        place.write_text("mine")
        return
    place.mkdir()
    (place / "thesis.txt").write_text("mine")
    if kind == "another program's model.json":
        (place / "model.json").write_text('{"modelTopology": {}}')
    if kind == "broken model.json":
        (place / "model.json").write_text("{")


@pytest.mark.parametrize(
    "kind", ["file", "folder", "another program's model.json", "broken model.json"]
)
def test_what_is_no_model_is_not_overwritten(tiny_model, tmp_path, kind):
    place = tmp_path / "place"
    occupy(place, kind)
    before = sorted(p.name for p in tmp_path.rglob("*"))
    with pytest.raises(UserError, match="is no model folder"):
        tiny_model.save(place)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("existing", [False, True])
def test_a_failed_save_leaves_all_as_it_was(full_model, tmp_path, monkeypatch, existing):
    place = tmp_path / "mine"
    if existing:
        full_model.save(place)
        before = {p: p.read_bytes() for p in place.rglob("*") if p.is_file()}
    write = Path.write_bytes

    def full(path, data):
        if path.name == "model.json":
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="No space left on device"):
        full_model.save(place)
    assert place.exists() == existing
    assert [p.name for p in tmp_path.iterdir()] == ["mine"] * existing
    if existing:
        assert {p: p.read_bytes() for p in place.rglob("*") if p.is_file()} == before


def test_a_failed_swap_puts_the_old_model_back(full_model, tiny_model, tmp_path, monkeypatch):
    place = tmp_path / "mine"
    full_model.save(place)
    rename = Path.rename

    def fail(path, target):
        if path.name == "new":
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(UserError, match="Input/output error"):
        tiny_model.save(place)
    monkeypatch.undo()
    assert Model.load(place).calibration == CALIBRATION


@pytest.fixture
def cut_off(full_model, tiny_model, tmp_path, monkeypatch):
    """A place whose newer model never arrived: the process ended between the renames."""
    place = tmp_path / "mine"
    full_model.save(place)
    rename = Path.rename

    def end(path, target):
        if path.name == "new":
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", end)
        patch.setattr("celltally.model.put_back", lambda folder: None)  # no time for that
        with pytest.raises(KeyboardInterrupt):
            tiny_model.save(place)
    assert not place.exists()
    return place


def test_a_save_that_was_cut_off_is_undone_when_the_model_is_loaded(cut_off):
    assert Model.load(cut_off).calibration == CALIBRATION
    assert [p.name for p in cut_off.parent.iterdir()] == ["mine"]


def test_a_save_that_was_cut_off_is_undone_when_the_model_is_looked_for(cut_off, monkeypatch):
    monkeypatch.setattr(zoo, "user_models_dir", lambda: cut_off.parent)
    monkeypatch.setattr(zoo, "shipped_models_dir", lambda: cut_off.parent / "none")
    aside = set_aside(cut_off)
    for look in (lambda: zoo.find("mine"), lambda: zoo.find(cut_off)):
        assert look() == cut_off
        cut_off.rename(aside)
    assert [r.path for r in zoo.available()] == [cut_off]


def test_a_save_after_one_that_was_cut_off(cut_off, tiny_model):
    tiny_model.save(cut_off)
    assert Model.load(cut_off).calibration is None
    assert [p.name for p in cut_off.parent.iterdir()] == ["mine"]


def test_an_older_model_that_was_not_thrown_away(folder, tiny_model, monkeypatch):
    """The process ended after the second rename."""
    tiny_model.save(set_aside(folder))
    monkeypatch.setattr(zoo, "user_models_dir", lambda: folder.parent)
    monkeypatch.setattr(zoo, "shipped_models_dir", lambda: folder.parent / "none")
    assert [(r.name, r.is_calibrated) for r in zoo.available()] == [("mine", True)]
    tiny_model.save(folder)
    assert Model.load(folder).calibration is None
    assert [p.name for p in folder.parent.iterdir()] == ["mine"]


def test_an_interrupted_swap_puts_the_old_model_back(full_model, tiny_model, tmp_path, monkeypatch):
    place = tmp_path / "mine"
    full_model.save(place)
    rename = Path.rename

    def interrupt(path, target):
        if path.name == "new":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupt)
    with pytest.raises(KeyboardInterrupt):
        tiny_model.save(place)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
    assert Model.load(place).calibration == CALIBRATION


def test_a_place_that_cannot_be(tiny_model, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written"):
        tiny_model.save(tmp_path / "file" / "model")


def test_a_loaded_model_counts_as_the_saved_one(full_model, folder):
    images = torch.from_numpy(np.random.default_rng(0).random((1, 3, 32, 32), dtype=np.float32))
    with torch.no_grad():
        assert torch.equal(
            full_model.network(images).density, Model.load(folder).network(images).density
        )
