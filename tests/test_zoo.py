import json
from pathlib import Path

import platformdirs
import pytest

from celltally import zoo
from celltally.errors import UserError


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Empty folders for shipped and own models."""
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    monkeypatch.setattr(zoo, "shipped_models_dir", lambda: shipped)
    monkeypatch.setattr(zoo, "user_models_dir", lambda: own)
    return shipped, own


@pytest.fixture
def other_model(tiny_config):
    import torch

    from celltally.model import Model
    from celltally.networks import build

    torch.manual_seed(7)
    return Model.from_network(build("tally", tiny_config), name="other", diameter_px=12.0)


def damage(folder: Path) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def test_no_models_at_all(places):
    assert zoo.available() == []
    with pytest.raises(UserError, match=r"no model 'general'; give one of these names: none"):
        zoo.find("general")


def test_the_default_comes_first_then_names(places, tiny_model):
    shipped, own = places
    for folder in (shipped / "nuclei", shipped / "general", own / "adipose"):
        tiny_model.save(folder)
    assert [r.name for r in zoo.available()] == ["general", "adipose", "nuclei"]
    assert zoo.find("nuclei") == shipped / "nuclei"
    assert zoo.load().name == "general"
    assert zoo.load("adipose").sha256 == tiny_model.sha256


def small_csrnet():
    from celltally.model import Model
    from celltally.networks import build

    network = build("csrnet", {"width": 1 / 16})
    return Model.from_network(network, name="a-csrnet", diameter_px=12.0)


def test_published_architectures_come_last_the_users_own_too(places, tiny_model):
    shipped, own = places
    for folder in (shipped / "nuclei", shipped / "general", own / "zebrafish"):
        tiny_model.save(folder)
    for folder in (shipped / "csrnet-u2os", own / "a-csrnet"):
        small_csrnet().save(folder)
    assert [r.name for r in zoo.available()] == [
        "general", "nuclei", "zebrafish", "a-csrnet", "csrnet-u2os",
    ]  # fmt: skip


def test_the_default_comes_first_whatever_its_network(places, tiny_model):
    shipped, own = places
    tiny_model.save(shipped / "nuclei")
    small_csrnet().save(own / "general")
    assert [r.name for r in zoo.available()] == ["general", "nuclei"]


def test_a_users_model_hides_a_shipped_one(places, tiny_model, other_model):
    shipped, own = places
    tiny_model.save(shipped / "general")
    other_model.save(own / "general")
    assert [r.sha256 for r in zoo.available()] == [other_model.sha256]
    assert zoo.load("general").sha256 == other_model.sha256


def test_a_damaged_model_is_not_listed_but_named_when_asked_for(places, tiny_model):
    shipped, own = places
    for folder in (shipped / "good", shipped / "hidden", own / "bad", own / "hidden"):
        tiny_model.save(folder)
    damage(own / "bad")
    damage(own / "hidden")
    assert [r.name for r in zoo.available()] == ["good"]
    for name in ("bad", "hidden"):
        assert zoo.find(name) == own / name
        with pytest.raises(UserError, match=r"weights\.safetensors is not the file"):
            zoo.load(name)


@pytest.mark.parametrize(
    "entries",
    [{"diameter_px": "12"}, {"sample": 3}, {"training_data": {}}, {"metrics": []}, {"sha256": ""}],
    ids=repr,
)
def test_a_record_of_wrong_types_is_not_listed_either(places, tiny_model, entries):
    _, own = places
    for name in ("bad", "good"):
        tiny_model.save(own / name)
    path = own / "bad" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))
    assert [r.name for r in zoo.available()] == ["good"]
    with pytest.raises(UserError, match=next(iter(entries))):
        zoo.load("bad")


def test_a_folder_that_may_not_be_read_is_not_listed(places, tiny_model, monkeypatch):
    _, own = places
    for name in ("bad", "good"):
        tiny_model.save(own / name)
    is_file = Path.is_file

    def refuse(path):
        if path.parent.name == "bad":
            raise PermissionError(13, "Permission denied")
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refuse)
    assert [r.name for r in zoo.available()] == ["good"]


def test_listed_names_can_be_found(places, tiny_model):
    """Also where a folder was copied under another name."""
    shipped, own = places
    tiny_model.save(shipped / "general")
    own.mkdir()
    (shipped / "general").rename(own / "copy")
    (record,) = zoo.available()
    assert zoo.find(record.name) == own / "copy"


def test_what_is_no_model_is_not_listed(places):
    shipped, _ = places
    (shipped / "notes").mkdir(parents=True)
    (shipped / "README.md").write_text("hello")
    assert zoo.available() == []


def test_paths_are_taken_as_they_are(places, tiny_model, tmp_path):
    folder = tiny_model.save(tmp_path / "elsewhere").record.path
    assert zoo.find(folder) == folder
    assert zoo.find(str(folder)) == folder
    assert zoo.load(folder).sha256 == tiny_model.sha256


@pytest.mark.parametrize("name", ["genral", "", "../shipped/general", "no/such/folder"])
def test_an_unknown_name_lists_the_names(places, tiny_model, name):
    shipped, own = places
    tiny_model.save(shipped / "general")
    tiny_model.save(own / "mine")
    with pytest.raises(UserError, match="general, mine"):
        zoo.find(name)


def test_a_pickle_is_refused_in_words(places, tmp_path):
    with pytest.raises(UserError, match="pickled"):
        zoo.load(tmp_path / "net.pt")


def test_own_models_lie_in_the_users_data_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(platformdirs, "user_data_path", lambda *a, **k: tmp_path / "data")
    assert zoo.user_models_dir() == tmp_path / "data" / "models"


def test_shipped_models_lie_in_the_package_or_beside_it():
    folder = zoo.shipped_models_dir()
    assert folder.name in {"_models", "models"}
