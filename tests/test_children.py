"""A model with a base: how it is stored, and which of the two counts an image."""

import json
from dataclasses import asdict, replace
from importlib import import_module

import imageio.v3 as imageio
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from celltally import zoo
from celltally.appearance import APPEARANCE
from celltally.batch import iter_count, read_counts
from celltally.cli import run
from celltally.errors import UserError
from celltally.evaluate.explanations import Explaining
from celltally.evaluate.report import iter_evaluate
from celltally.explain.overview import overview
from celltally.explain.saliency import saliency
from celltally.explain.similarity import similarities
from celltally.intervals import known_appearances
from celltally.learn import audits
from celltally.learn.calibrate import calibrate_on
from celltally.learn.data import read_dataset
from celltally.model import Model
from celltally.networks import build
from celltally.predict import predict, scaled_for
from celltally.progress import drain
from celltally.record import Learned, known_of, read_base, read_record, sha256_of
from celltally.types import Calibration

CALIBRATION = Calibration(1.0, 0.0, 4.0, (0.5, 1.0), n=2, groups=2, date="2024-05-06")
SHAPE = (64, 72)


def learned(looks, **details):
    return Learned(
        project="Wells",
        by=("A. Person",),
        date="2024-05-06T07:08+00:00",
        images=1,
        regions=2,
        stated=0,
        excluded=0,
        dots=12,
        corrected=3,
        kept_back=0,
        audits=0,
        helped=None,
        metrics={},
        looks=looks,
        **details,
    )


def seen(model, images):
    """What images look like, as a model keeps it."""
    shown = [scaled_for(model, pixels, 12.0)[0].appearance for pixels in images]
    return known_appearances(shown, list(map(str, range(len(shown)))), APPEARANCE)


@pytest.fixture
def known(draw_cells, scatter):
    """Images that the base knows: bright cells on a dark ground."""
    rng = np.random.default_rng(3)
    return [draw_cells(scatter(n, SHAPE, rng), SHAPE, rng=rng) for n in (6, 8, 10, 12)]


@pytest.fixture
def own(known):
    """Images like those that the child learned from: the same, turned dark on bright."""
    return [255 - pixels for pixels in known]


@pytest.fixture
def base(tiny_model, known):
    calibration = replace(CALIBRATION, appearances=seen(tiny_model, known))
    return replace(tiny_model, record=replace(tiny_model.record, name="older")).with_calibration(
        calibration
    )


@pytest.fixture
def make_child(tiny_config, base, own):
    def make(*, seed=1, diameter=12.0, looks=..., base=base, prototypes=4, **details):
        torch.manual_seed(seed)
        looks = seen(base, own[:2]) if looks is ... else looks
        network = build("tally", tiny_config | {"prototypes": prototypes})
        return Model.from_network(
            network,
            name="mine",
            diameter_px=diameter,
            base=base,
            replay={"values": torch.arange(6, dtype=torch.uint8).reshape(2, 3)},
            parent=base.sha256,
            learned=learned(looks, **details),
        ).with_calibration(replace(CALIBRATION, gamma=9.0))

    return make


@pytest.fixture
def child(make_child):
    return make_child()


@pytest.fixture
def folder(child, tmp_path):
    child.save(tmp_path / "mine")
    return tmp_path / "mine"


# ---- the folder -------------------------------------------------------------


def test_round_trip(child, base, folder):
    model = Model.load(folder)
    assert model.sha256 == child.sha256
    assert model.record.learned == child.record.learned
    assert model.record.has_base
    assert model.name == "mine"
    assert model.base is not None
    assert (model.base.name, model.base.sha256) == ("older", base.sha256)
    assert model.base.calibration == base.calibration
    assert model.base.record.path == folder / "base"
    assert torch.equal(model.replay["values"], child.replay["values"])
    for (name, a), (_, b) in zip(
        base.network.state_dict().items(), model.base.network.state_dict().items(), strict=True
    ):
        assert torch.equal(a, b), name


def test_what_the_folder_holds(folder):
    files = json.loads((folder / "model.json").read_text())["files"]
    assert {"replay.safetensors", "base/model.json", "base/weights.safetensors"} <= set(files)
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert there == {*files, "model.json"}
    for name, digest in files.items():
        assert sha256_of((folder / name).read_bytes()) == digest


def test_saving_what_was_loaded_gives_the_same_folder(folder, tmp_path):
    Model.load(folder).save(tmp_path / "again" / "mine")
    for path in (p for p in folder.rglob("*") if p.is_file()):
        assert (tmp_path / "again" / "mine" / path.relative_to(folder)).read_bytes() == (
            path.read_bytes()
        )


def test_the_base_folder_is_a_model_of_its_own(folder, base):
    assert Model.load(folder / "base").sha256 == base.sha256
    record = read_base(read_record(folder))
    assert record is not None
    assert record.name == "older"
    assert read_base(record) is None


def test_a_base_may_have_a_base(make_child, folder, known, own, tmp_path):
    grandchild = make_child(seed=2, base=Model.load(folder), looks=seen(make_child(), known[:1]))
    grandchild.save(tmp_path / "younger")
    model = Model.load(tmp_path / "younger")
    assert [m.name for m in model.with_bases] == ["younger", "mine", "older"]
    assert model.sha256 == grandchild.sha256
    look = scaled_for(model, own[0], 12.0)[0].appearance
    assert model.counting(look).name == "mine"


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json", "calibration.json"])
@pytest.mark.parametrize("how", ["altered", "missing"])
def test_a_damaged_base_is_one_sentence(folder, name, how):
    path = folder / "base" / name
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(UserError, match="copy the model again") as caught:
        Model.load(folder)
    assert f"base/{name}" in str(caught.value)


def rewrite(folder, name, data):
    """Change a file and its hash in the record, as somebody would who means it."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    content = json.loads((folder / "model.json").read_text())
    content["files"][name] = sha256_of(data)
    (folder / "model.json").write_text(json.dumps(content))


def test_the_base_of_another_model_is_noticed(child, folder, tiny_config, tmp_path):
    torch.manual_seed(5)
    other = Model.from_network(build("tally", tiny_config), name="older", diameter_px=12.0)
    other.save(tmp_path / "other")
    for path in (p for p in (tmp_path / "other").rglob("*") if p.is_file()):
        rewrite(folder, f"base/{path.relative_to(tmp_path / 'other')}", path.read_bytes())
    with pytest.raises(UserError, match="another identity"):
        Model.load(folder)


def test_a_base_that_the_record_does_not_list_is_not_read(tiny_model, base, tmp_path):
    tiny_model.save(tmp_path / "plain")
    base.save(tmp_path / "plain" / "base")
    assert Model.load(tmp_path / "plain").base is None


@pytest.mark.parametrize("data", [b"", b"\x80\x04.", b"x" * 100])
def test_a_damaged_replay_is_one_sentence(folder, data):
    rewrite(folder, "replay.safetensors", data)
    with pytest.raises(UserError, match=r"replay\.safetensors is damaged .*; copy the model again"):
        Model.load(folder)


def test_a_replay_that_the_record_does_not_list_is_not_read(tiny_model, tmp_path):
    tiny_model.save(tmp_path / "plain")
    save_file({"a": torch.zeros(2)}, tmp_path / "plain" / "replay.safetensors")
    assert Model.load(tmp_path / "plain").replay == {}


def test_replay_is_stored_whatever_its_layout(tiny_model, tmp_path):
    tensor = torch.arange(6.0).reshape(2, 3).T
    replace(tiny_model, replay={"a": tensor}).save(tmp_path / "plain")
    assert torch.equal(load_file(tmp_path / "plain" / "replay.safetensors")["a"], tensor)


# ---- identity ---------------------------------------------------------------


def test_the_identity_knows_the_base_and_the_looks(make_child, child, base, own, tiny_config):
    torch.manual_seed(6)
    other = Model.from_network(build("tally", tiny_config), name="other", diameter_px=12.0)
    alone = replace(child, base=None)
    assert make_child().sha256 == child.sha256
    different = {
        child.sha256,
        make_child(base=other.with_calibration(base.calibration)).sha256,
        make_child(looks=seen(base, own[:1])).sha256,
        make_child(looks=None).sha256,
        Model.from_network(alone.network, name="mine", diameter_px=12.0).sha256,
    }
    assert len(different) == 5


def test_the_identity_knows_nothing_else_of_what_was_learned(make_child, child):
    assert make_child(new_prototypes=(3,)).sha256 == child.sha256
    assert replace(child, replay={}).sha256 == child.sha256


def test_without_a_base_looks_are_no_part_of_the_identity(child):
    plain = Model.from_network(child.network, name="mine", diameter_px=12.0)
    told = Model.from_network(
        child.network, name="mine", diameter_px=12.0, learned=child.record.learned
    )
    assert plain.sha256 == told.sha256


def test_shipped_models_are_still_what_they_were():
    folders = [path.parent for path in zoo.shipped_models_dir().glob("*/model.json")]
    assert folders
    for folder in folders:
        stated = json.loads((folder / "model.json").read_text())["sha256"]
        model = Model.load(folder)  # which checks the identity
        again = Model.from_network(model.network, name="again", diameter_px=model.diameter_px)
        assert again.sha256 == stated
        assert model.base is None


def test_another_calibration_leaves_base_and_identity(child, base):
    again = child.with_calibration(CALIBRATION)
    assert again.sha256 == child.sha256
    assert again.base is base
    assert again.base.calibration_sha256 == base.calibration_sha256
    assert again.replay is child.replay


# ---- which counts -----------------------------------------------------------


def test_the_child_counts_images_like_those_it_learned_from(child, own, base):
    alone = replace(child, base=None)
    for pixels in own:
        counted = predict(child, pixels, diameter_px=12.0, device="cpu")
        assert counted.calibration == child.calibration
        assert counted.calibration_sha256 == child.calibration_sha256
        assert counted.notes == ()
        same = predict(alone, pixels, diameter_px=12.0, device="cpu")
        np.testing.assert_array_equal(counted.density, same.density)


def test_the_base_counts_the_others_as_if_there_were_no_child(child, known, base):
    for pixels in known:
        counted = predict(child, pixels, diameter_px=12.0, device="cpu")
        same = predict(base, pixels, diameter_px=12.0, device="cpu")
        np.testing.assert_array_equal(counted.density, same.density)
        np.testing.assert_array_equal(counted.variance, same.variance)
        assert counted.calibration == base.calibration
        assert counted.calibration_sha256 == base.calibration_sha256
        assert (counted.model, counted.model_sha256) == ("mine", child.sha256)
        assert counted.notes == (
            "it was counted by 'older', for it looks unlike the images that 'mine' learned from",
        )


def test_a_base_of_another_scale_counts_at_its_own(make_child, known, own, base):
    child = make_child(diameter=15.0)
    counted = predict(child, known[0], diameter_px=12.0, device="cpu")
    same = predict(base, known[0], diameter_px=12.0, device="cpu")
    np.testing.assert_array_equal(counted.density, same.density)
    assert counted.diameter_px == 12.0
    assert predict(child, own[0], diameter_px=12.0, device="cpu").grid != counted.grid


def test_an_image_that_shows_nothing_is_the_childs(child):
    counted = predict(child, np.zeros(SHAPE), device="cpu")
    assert counted.count == 0.0
    assert counted.calibration == child.calibration


def test_counting_depends_on_what_both_know(child, make_child, base, known, own):
    like, unlike = (scaled_for(child, image[0], 12.0)[0].appearance for image in (own, known))
    assert child.counting(like) is child
    assert child.counting(unlike) is base
    assert child.counting({}) is child
    assert base.counting(like) is base
    assert make_child(looks=None).counting(unlike).name == "mine"
    ignorant = replace(base, calibration=None, calibration_sha256="")
    assert replace(child, base=ignorant).counting(unlike).name == "mine"
    # What the base learned itself is what it knows, too.
    of_record = replace(base.record, learned=learned(base.calibration.appearances))
    told = replace(ignorant, record=of_record)
    assert replace(child, base=told).counting(unlike) is told


def test_counts_of_both_are_the_models(child, base):
    assert child.made(child.sha256, child.calibration_sha256)
    assert child.made(child.sha256, base.calibration_sha256)
    assert not child.made(base.sha256, base.calibration_sha256)
    assert not child.made(child.sha256, "")


def test_the_record_alone_tells_the_same(folder, known, own):
    model, record = Model.load(folder), read_record(folder)
    assert known_of(record, model.calibration) == known_of(model.record, model.calibration)
    assert known_of(record, None).learned == model.record.learned.looks
    assert asdict(record.learned) == asdict(model.record.learned)


# ---- why --------------------------------------------------------------------


def test_the_network_that_counted_is_explained(make_child, base, known, own):
    child = make_child(prototypes=6, new_prototypes=(4, 5))
    for pixels, model, number in ((known[0], base, 4), (own[0], child, 6)):
        counted = predict(child, pixels, diameter_px=12.0, device="cpu")
        found = similarities(child, pixels, diameter_px=12.0, device="cpu")
        assert len(found.kinds) == number
        density = found.contributions.sum(axis=0) + found.bias
        np.testing.assert_allclose(density, counted.density[0], atol=1e-4)
        whole = overview(child, pixels, diameter_px=12.0, device="cpu")
        assert len(whole.patches) == number
        assert whole.contributions.total == pytest.approx(density.sum(), abs=1e-2)
        assert child.counting(whole.appearance) is model
        assert bool(whole.notes) == (model is base)
        assert (whole.model, whole.model_sha256) == ("mine", child.sha256)
        gradient = saliency(child, pixels, diameter_px=12.0, device="cpu")
        alone = saliency(replace(model, base=None), pixels, diameter_px=12.0, device="cpu")
        np.testing.assert_allclose(gradient.values, alone.values, atol=1e-6)
        assert bool(gradient.notes) == (model is base)


def test_an_image_at_model_scale_is_explained_by_who_counts_it(child, base, known, own):
    for pixels, model in ((known[0], base), (own[0], child)):
        plane, counting = scaled_for(child, pixels, 12.0)
        assert counting is model
        found = similarities(child, plane, device="cpu")
        same = similarities(replace(model, base=None), pixels, diameter_px=12.0, device="cpu")
        np.testing.assert_array_equal(found.values, same.values)
        assert overview(child, plane, device="cpu").contributions.total == pytest.approx(
            overview(child, pixels, diameter_px=12.0, device="cpu").contributions.total
        )


# ---- where models are used --------------------------------------------------


@pytest.fixture
def pictures(tmp_path, known, own):
    """A folder with an image for either model."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    imageio.imwrite(folder / "base.png", known[0])
    imageio.imwrite(folder / "child.png", own[0])
    return folder


@pytest.fixture
def dataset(dataset_folder, known, own):
    """A data set of which the base counts one half of the images."""
    folder = dataset_folder("both", [6, 6, 6, 6], shape=SHAPE)
    for i, pixels in enumerate([known[0], own[0], known[1], own[1]]):
        imageio.imwrite(folder / "images" / f"both-{i}.png", pixels)
    return folder


def test_counts_of_the_base_are_not_counted_again(folder, pictures, tmp_path, monkeypatch):
    out = tmp_path / "counts.csv"

    def count(**options):
        return drain(
            iter_count([pictures], model=folder, out=out, diameter_px=12.0, device="cpu", **options)
        )

    count()
    rows = read_counts(out)
    table = pd.DataFrame(rows).set_index("image")
    model = Model.load(folder)
    assert set(table["model_sha256"]) == {model.sha256}
    assert table.loc["child.png", "calibration_sha256"] == model.calibration_sha256
    assert table.loc["base.png", "calibration_sha256"] == model.base.calibration_sha256
    assert "it was counted by 'older'" in table.loc["base.png", "message"]
    assert "counted by" not in table.loc["child.png", "message"]
    monkeypatch.setattr(import_module("celltally.predict"), "iter_predict", None)
    count(resume=True)
    assert read_counts(out) == rows


def test_only_images_that_it_counts_calibrate_a_child(child, base, dataset):
    data = read_dataset(dataset)
    calibrated = drain(calibrate_on(child, [(data, s) for s in data.samples], device="cpu"))
    assert calibrated.calibration.n == 2
    assert calibrated.base is base
    assert calibrated.sha256 == child.sha256
    theirs = [(data, s) for s in data.samples[::2]]
    with pytest.raises(UserError, match=r"all 2 images look unlike those that 'mine' learned from"):
        drain(calibrate_on(child, theirs, device="cpu"))


def test_an_image_that_the_base_counts_is_no_audit_of_the_child(child, base, pictures):
    found = {candidate.name: candidate for candidate in audits.candidates_in(pictures)}
    options = {"seed": 1, "diameter_px": 12.0, "device": "cpu"}
    with pytest.raises(UserError, match=r"base\.png is counted by 'older'"):
        drain(audits.iter_field(child, found["base.png"], 0, **options))
    assert drain(audits.iter_field(child, found["child.png"], 0, **options))
    assert drain(audits.iter_field(base, found["base.png"], 0, **options))


def test_a_childs_own_prototypes_are_judged(make_child, dataset, tmp_path):
    child = make_child(prototypes=6)
    child.save(tmp_path / "six")
    job = iter_evaluate(dataset, model=tmp_path / "six", explanations=True, device="cpu")
    report = drain(job)
    assert not report.failed
    assert report.explanations["prototypes"] == 6
    assert report.explanations["additivity_error"] < 1e-4
    assert Explaining(child, 1, 1, "cpu").model.base is None


@pytest.mark.parametrize(("image", "number"), [("base.png", 4), ("child.png", 6)])
def test_the_command_line_explains_the_network_that_counted(
    make_child, pictures, tmp_path, monkeypatch, capsys, image, number
):
    make_child(prototypes=6, new_prototypes=(4, 5)).save(tmp_path / "six")
    drawn = {}

    def write_gallery(path, rows, kinds, title, *, new=()):
        drawn.update(number=len(rows), title=title, new=new)
        return ()

    monkeypatch.setattr("celltally.explain.gallery.write_gallery", write_gallery)
    command = ["explain", pictures / image, "--model", tmp_path / "six", "--out", tmp_path / "why"]
    assert run([*map(str, command), "--diameter", "12", "--device", "cpu"]) == 0
    assert len(pd.read_csv(tmp_path / "why" / "contributions.csv")) == number + 1
    assert drawn["number"] == number
    assert drawn["new"] == ((4, 5) if number == 6 else ())
    assert f"of the model {'six' if number == 6 else 'older'}," in drawn["title"]
    assert ("it was counted by 'older'" in capsys.readouterr().err) == (number == 4)
