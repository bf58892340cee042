from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric

from celltally.errors import UserError
from celltally.learn import train as train_module
from celltally.learn.augment import AUGMENTATIONS
from celltally.learn.fit import FitConfig
from celltally.learn.push import Projection
from celltally.learn.replay import replay_patches
from celltally.learn.seen import image_hash
from celltally.learn.train import iter_train, make_plan, possible_stages
from celltally.learn.validate import validate
from celltally.model import Model
from celltally.networks import Stage
from celltally.predict import predict
from celltally.progress import drain
from celltally.types import Progress

FAST = FitConfig(crop=32, batch=2, count_batch=2, count_every=2, validate_every=3)


@pytest.fixture
def train(tiny_config, tmp_path):
    def start(data, out="model", **options):
        settings = {"steps": 10, "device": "cpu", "network_config": tiny_config, "fit": FAST}
        folders = data if isinstance(data, list) else [data]
        return iter_train(folders, out=tmp_path / out, **settings | options)

    return start


# ---- plans ------------------------------------------------------------------


def groups(pairs):
    return {sample.group for _, sample in pairs}


@pytest.fixture
def wells(dataset_folder):
    stems = [f"w{well}-{field}" for well in range(8) for field in range(2)]
    return dataset_folder("plate", [1] * 16, stems=stems, group_pattern=r"(w\d)")


@pytest.mark.parametrize("seed", range(4))
def test_no_group_is_in_two_parts(wells, seed):
    plan = make_plan([wells], (), (), seed)
    parts = [groups(p) for p in (plan.train, plan.val, plan.calibrate)]
    assert all(parts)
    assert sum(map(len, parts)) == len(set().union(*parts)) == 8
    assert len(plan.train) + len(plan.val) + len(plan.calibrate) == 16
    assert len(plan.train) >= 10


def test_the_seed_decides_the_plan(wells):
    plans = [make_plan([wells], (), (), seed) for seed in (1, 1, 2, 3)]
    assert plans[0] == plans[1]
    assert len({tuple(sorted(groups(p.val))) for p in plans}) > 1


@pytest.mark.parametrize("seed", range(3))
def test_folders_of_one_set_share_its_groups(dataset_folder, tmp_path, seed):
    """The fields of a well may lie in several folders."""
    folders = [
        dataset_folder(
            "plate", [1] * 6, stems=[f"w{w}-{part}" for w in range(6)],
            group_pattern=r"(w\d)", folder=tmp_path / f"{part}",
        )
        for part in ("first", "second")
    ]  # fmt: skip
    plan = make_plan(folders, (), (), seed)
    parts = [groups(p) for p in (plan.train, plan.val, plan.calibrate)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 6


def test_given_parts_are_not_taken_from_the_data(dataset_folder):
    train, val, calibrate = (dataset_folder(n, [1, 1, 1, 1]) for n in ("t", "v", "c"))
    plan = make_plan([train], [val], [calibrate], 0)
    assert groups(plan.train) == {f"t/t-{i}" for i in range(4)}
    assert groups(plan.val) == {f"v/v-{i}" for i in range(4)}
    assert groups(plan.calibrate) == {f"c/c-{i}" for i in range(4)}
    only_val = make_plan([train], [val], (), 0)
    assert len(only_val.val) == 4
    assert len(only_val.calibrate) == 1
    assert len(only_val.train) == 3


@pytest.fixture
def part(dataset_folder, tmp_path):
    """A folder with some wells of one plate."""

    def make(name, wells, plate="plate"):
        stems = [f"w{well}-{name}" for well in wells]
        return dataset_folder(
            plate, [1] * len(stems), stems=stems, group_pattern=r"(w\d)", folder=tmp_path / name
        )

    return make


def test_what_validates_or_calibrates_is_not_learned_from(part):
    data, val, calibrate = part("data", range(6)), part("val", [0, 7]), part("cal", [1, 8])
    plan = make_plan([data], [val], [calibrate], 0)
    assert groups(plan.train) == {f"plate/w{i}" for i in (2, 3, 4, 5)}
    assert groups(plan.val) == {"plate/w0", "plate/w7"}
    assert groups(plan.calibrate) == {"plate/w1", "plate/w8"}
    assert groups(plan.left_out) == {"plate/w0", "plate/w1"}


@pytest.mark.parametrize("seed", range(3))
def test_what_validates_calibrates_nothing(part, seed):
    """Also where the calibration data are a part of the data."""
    plan = make_plan([part("data", range(8))], [part("val", [0, 1, 2])], (), seed)
    assert plan.calibrate
    assert groups(plan.val) == {"plate/w0", "plate/w1", "plate/w2"}
    assert groups(plan.val) & (groups(plan.train) | groups(plan.calibrate)) == set()


def test_groups_of_other_sets_are_other_groups(part):
    plan = make_plan([part("data", range(4))], [part("val", range(4), plate="other")], (), 0)
    assert plan.left_out == []
    assert len(plan.train) + len(plan.calibrate) == 4


def test_an_image_is_the_same_one_under_every_name(part):
    """A link in a set of another name."""
    data, val = part("data", range(4)), part("val", [7], plate="other")
    image, dots = val / "images" / "mine.png", val / "dots" / "mine.csv"
    image.symlink_to(data / "images" / "w2-data.png")
    dots.write_text("y,x\n1,1\n")
    plan = make_plan([data], [val], (), 0)
    assert groups(plan.left_out) == {"plate/w2"}


def test_validation_and_calibration_share_nothing(part):
    val, calibrate = part("val", [0, 1]), part("cal", [2, 1])
    with pytest.raises(UserError, match=r"'plate/w1' \(.*w1-cal.png\).*leave it out of one"):
        make_plan([part("data", range(5))], [val], [calibrate], 0)


def test_nothing_left_to_learn_from(part):
    data = part("data", [1, 2])
    with pytest.raises(UserError, match=r"every group of .*data, such as 'plate/w1', is in"):
        make_plan([data], [data], (), 0)


def test_a_folder_that_is_given_twice_counts_once(part, tmp_path):
    data, val = part("data", range(4)), part("val", [7])
    again = tmp_path / "val" / ".." / "data"
    plan = make_plan([data, again], [val, val], (), 0)
    assert len(plan.train) + len(plan.calibrate) == 4
    assert len(plan.val) == 1


# ---- trainings --------------------------------------------------------------


@pytest.fixture
def data(dataset_folder):
    return dataset_folder("blobs", [4, 8, 6, 10, 5, 7, 3, 9], note="x")


def test_a_whole_training(train, data, tmp_path, tiny_config, draw_cells):
    steps = []
    model = drain(train(data, sample="blobs on black", seed=3), steps.append)
    loaded = Model.load(tmp_path / "model")
    assert loaded.sha256 == model.sha256
    record = loaded.record
    assert record.name == "model"
    assert record.sample == "blobs on black"
    assert record.network == "tally"
    assert record.config["depth"] == tiny_config["depth"]
    (source,) = record.training_data
    assert (source.name, source.images, source.licence) == ("blobs", 5, "CC0 1.0")
    assert len(source.sha256) == 64
    assert record.training["seed"] == 3
    assert record.training["steps"] == 10
    assert set(record.metrics) == {"blobs"}
    assert record.metrics["blobs"]["n"] == 2
    assert {p.kind for p in loaded.prototypes} == {"cell", "background"}
    assert loaded.pictures
    assert loaded.calibration.n == 1
    assert "blobs on black" in (tmp_path / "model" / "README.md").read_text()
    training = [s for s in steps if "loss" in s.values]
    assert len(training) == 10
    assert any("val_mae" in s.values for s in training)
    pixels = draw_cells(np.array([[20, 20], [40, 50]]), (64, 72))
    prediction = predict(loaded, pixels, diameter_px=12.0, device="cpu")
    assert (prediction.variance > 0).all()


def test_the_same_seed_and_steps_give_the_same_model(train, data):
    shas = [drain(train(data, f"m{i}", seed=s)).sha256 for i, s in enumerate((1, 1, 2))]
    assert shas[0] == shas[1]
    assert shas[0] != shas[2]


def test_a_longer_training_counts_better(train, dataset_folder, data):
    val = dataset_folder("val", [2, 12, 5])
    fit = FitConfig(
        crop=48, batch=6, validate_every=40, learning_rate=5e-3, average=0.9, augmentation=None
    )
    seen = []
    drain(train(data, steps=100, val=[val], fit=fit), seen.append)
    errors = [s.values["val_error"] for s in seen if "val_error" in s.values]
    losses = [s.values["loss"] for s in seen if "loss" in s.values][:70]  # of the fit alone
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    assert min(errors) < 0.6


@pytest.mark.parametrize("how", ["closed", KeyboardInterrupt])
@pytest.mark.parametrize("after", [1, 5, 9])
def test_ending_early_leaves_a_usable_model(train, data, tmp_path, how, after, draw_cells):
    """Before the first validation, after it, and in the stages that follow the fit."""
    job = train(data, steps=11 if after == 9 else 1000)
    steps = 0
    while steps < after:
        steps += "loss" in next(job).values
    if how == "closed":
        job.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            job.throw(KeyboardInterrupt())
    model = Model.load(tmp_path / "model")
    assert model.calibration is None
    assert model.record.training["steps"] >= 1
    assert all(t.isfinite().all() for t in model.network.state_dict().values())
    pixels = draw_cells(np.array([[20, 20]]), (64, 72))
    assert np.isfinite(predict(model, pixels, diameter_px=12.0, device="cpu").count)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["blobs", "model"]


def test_ending_before_the_first_step_leaves_nothing(train, data, tmp_path):
    job = train(data)
    next(job)
    job.close()
    assert not (tmp_path / "model").exists()


def test_a_calibration_that_fails_leaves_the_finished_model(train, data, tmp_path, monkeypatch):
    def fail(model, pairs, *, others, device):
        yield from ()
        raise UserError("a broken image")

    monkeypatch.setattr("celltally.learn.train.calibrate_on", fail)
    with pytest.raises(UserError, match="a broken image"):
        drain(train(data))
    model = Model.load(tmp_path / "model")
    assert model.prototypes
    assert model.record.metrics


def test_what_was_left_out_is_on_record_and_card(train, part, tmp_path):
    data, val = part("data", range(6)), part("val", [0, 1])
    model = drain(train(data, val=[val]))
    words = "images whose group validates or calibrates (plate 2)"
    assert model.record.training["left out"] == words
    assert words in (tmp_path / "model" / "README.md").read_text()
    assert "left out" not in drain(train(data, out="other")).record.training


def test_one_process_of_several_saves(train, data, tmp_path, monkeypatch):
    """And the others wait for it after every save but those on the way."""
    waited = []
    monkeypatch.setattr(Fabric, "barrier", lambda self, name=None: waited.append(1))
    drain(train(data))
    assert (tmp_path / "model").is_dir()
    assert sum(waited) == 2
    monkeypatch.setattr(Fabric, "is_global_zero", property(lambda self: False))
    model = drain(train(data, out="other"))
    assert model.calibration is not None
    assert not (tmp_path / "other").exists()
    assert sum(waited) == 4


def test_a_name_that_is_not_always_cc0_shows_no_pixels(train, dataset_folder, tmp_path):
    free = dataset_folder("set", [4, 6, 5, 3], folder=tmp_path / "free")
    other = dataset_folder(
        "set", [5, 2, 7], stems=["a", "b", "c"], licence="ask", folder=tmp_path / "other"
    )
    model = drain(train([free, other]))
    assert model.prototypes
    assert not model.pictures
    licences = {(s.name, s.licence) for s in model.record.training_data}
    assert licences == {("set", "CC0 1.0"), ("set", "ask")}


def test_a_model_keeps_patches_of_what_it_learned_from(train, data, tmp_path):
    model = drain(train(data))
    loaded = Model.load(tmp_path / "model")
    patches = replay_patches(loaded.replay)
    assert len(patches) == 5  # images that taught, each smaller than a patch
    assert {patch.dataset for patch in patches} == {"blobs"}
    assert all(torch.equal(loaded.replay[name], model.replay[name]) for name in model.replay)
    card = (tmp_path / "model" / "README.md").read_text()
    assert "patches kept: 5 of blobs (CC0 1.0), in replay.safetensors" in card


def test_pixels_of_the_users_own_may_be_kept_and_others_not(train, dataset_folder, tmp_path):
    own = dataset_folder("own", [4, 6, 5, 3], licence="the user's own")
    other = dataset_folder("other", [4, 6, 5, 3], licence="for research")
    model = drain(train([own, other]))
    assert {patch.dataset for patch in replay_patches(model.replay)} == {"own"}
    alone = drain(train([other], out="alone"))
    assert not alone.replay
    assert not (tmp_path / "alone" / "replay.safetensors").exists()
    assert "patches kept" not in alone.record.training


def test_a_child_keeps_its_parents_patches_too(train, dataset_folder, tmp_path):
    drain(train(dataset_folder("first", [4, 6, 5, 3]), out="parent"))
    second = dataset_folder("second", [2, 3, 4, 6])
    child = drain(
        train(second, out="child", start=tmp_path / "parent", steps=1, network_config=None)
    )
    assert {patch.dataset for patch in replay_patches(child.replay)} == {"first", "second"}
    assert "of first (CC0 1.0)" in child.record.training["patches kept"]


def test_counts_only_data_train(train, dataset_folder):
    data = dataset_folder("counted", [4, 8, 6, 10, 5, 7], labels="counts")
    model = drain(train(data))
    assert model.record.training["steps"] >= 10
    assert model.calibration.n == 1


def test_one_image_is_enough_to_begin(train, dataset_folder):
    model = drain(train(dataset_folder("one", [5])))
    assert model.record.metrics == {}
    assert model.calibration is None


def test_a_plain_head_has_no_gallery(train, data, tiny_config):
    del tiny_config["prototypes"]
    model = drain(train(data, network="tally_plain", network_config=tiny_config))
    assert model.prototypes == ()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"network": "csrnett"}, "no network 'csrnett'"),
        ({"network_config": {"width": 1}}, "no setting 'width'"),
        ({"steps": None}, "either"),
        ({"minutes": 1.0}, "either"),
        ({"steps": 0}, "at least 1"),
        ({"device": "gpu"}, "no device 'gpu'"),
        ({"diameter_px": -3.0}, "not above 0"),
        ({"diameter_px": 0.0}, "not above 0"),
    ],
)
def test_what_cannot_be_is_said_before_any_image_is_read(
    train, data, tmp_path, monkeypatch, options, words
):
    monkeypatch.setattr("celltally.learn.train.prepare", lambda *a: pytest.fail("images were read"))
    with pytest.raises(UserError, match=words):
        drain(train(data, **options))
    assert not (tmp_path / "model").exists()


def test_a_place_that_is_taken(train, data, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(UserError, match="exists already"):
        drain(train(data))


def test_the_global_random_state_is_the_seeds(train, data):
    """Whatever was drawn before, the seed alone decides."""
    torch.manual_seed(99)
    first = drain(train(data, "a", steps=4)).sha256
    torch.rand(5)
    np.random.default_rng().random()
    assert drain(train(data, "b", steps=4)).sha256 == first


# ---- from a model -------------------------------------------------------------


def test_a_training_can_start_from_a_model(train, dataset_folder, tmp_path):
    data = dataset_folder("blobs", [3] * 8)
    parent = drain(train(data, out="parent"))
    child = drain(train(data, out="child", start=tmp_path / "parent", steps=5, network_config=None))
    assert child.record.parent == parent.sha256
    assert child.record.config == parent.record.config
    assert child.sha256 != parent.sha256


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"network": "tally_plain", "network_config": None}, "is a 'tally', not a 'tally_plain'"),
        ({"network": "nosuch", "network_config": None}, "not a 'nosuch'"),
        ({"network_config": {"depth": 5}}, "settings of its own"),
    ],
)
def test_a_parent_brings_its_network(train, data, tiny_model, tmp_path, options, words):
    parent = tiny_model.save(tmp_path / "parent").record.path
    with pytest.raises(UserError, match=words):
        next(train(data, start=parent, **options))


# ---- what was seen judges nothing ----


@pytest.fixture
def parent(train, wells, tmp_path):
    return drain(train(wells, out="parent", steps=1, seed=0))


def hashes(pairs):
    return {image_hash(sample) for _, sample in pairs}


def test_a_model_tells_which_images_it_has_seen(parent, wells, tmp_path):
    plan = make_plan([wells], (), (), 0)
    assert set(parent.record.taught_by) == hashes(plan.train)
    assert set(parent.record.chosen_by) == hashes(plan.val)
    assert Model.load(tmp_path / "parent").record.taught_by == parent.record.taught_by


@pytest.mark.parametrize("seed", range(1, 6))
def test_no_child_is_judged_by_what_its_parent_has_seen(parent, wells, seed):
    plan = make_plan([wells], (), (), seed, parent.record)
    assert not hashes(plan.val) & set(parent.record.taught_by)
    assert not hashes(plan.calibrate) & {*parent.record.taught_by, *parent.record.chosen_by}
    assert len(plan.train) + len(plan.val) + len(plan.calibrate) == 16


def test_a_child_remembers_what_its_parent_has_seen(parent, train, dataset_folder, wells, tmp_path):
    other = dataset_folder("other", [2] * 6, licence="of another kind")
    child = drain(
        train(other, out="child", start=tmp_path / "parent", steps=1, network_config=None)
    )
    assert set(child.record.taught_by) > set(parent.record.taught_by)
    assert set(child.record.chosen_by) > set(parent.record.chosen_by)
    assert [s.name for s in child.record.training_data] == ["other", "plate"]
    assert "CC0" in child.record.licence


@pytest.mark.parametrize("use", ["val", "calibrate"])
def test_given_parts_that_the_parent_has_seen(parent, wells, dataset_folder, use):
    other = dataset_folder("other", [2] * 6)
    with pytest.raises(UserError, match=r"\d of the 16 images .* not seen"):
        make_plan([other], *([[wells], ()] if use == "val" else [(), [wells]]), 0, parent.record)


# ---- stages ----


@pytest.mark.parametrize("network", ["tally", "tally_plain"])
def test_every_step_of_the_budget_is_used(train, data, tiny_config, network):
    config = {k: v for k, v in tiny_config.items() if network == "tally" or k != "prototypes"}
    model = drain(train(data, network=network, network_config=config, steps=40))
    assert model.record.training["steps"] == 40


def test_the_record_tells_each_sets_augmentation(train, data):
    fit = replace(FAST, set_augmentations={"blobs": AUGMENTATIONS["slight"]})
    model = drain(train(data, steps=2, fit=fit))
    assert model.record.training["augmentation"] == "blobs slight, others full"


@pytest.mark.parametrize("labels", ["dots", "counts"])
def test_a_stage_that_the_network_counts_without_is_left_out_where_there_are_no_dots(
    train, dataset_folder, labels
):
    data = dataset_folder("wells", [4, 8, 6, 10, 5, 7, 3, 9], labels=labels)
    options = {"network": "decoupled", "network_config": {"width": 1 / 32}}
    model = drain(train(data, steps=10, **options))
    learned = bool(model.network.localiser.last.weight.any())
    assert learned == (labels == "dots")
    assert model.record.training["steps"] == 10


def test_a_stage_that_the_network_does_not_count_without_is_never_left_out(prepared_images):
    needed, optional = (Stage("eyes", 0.5, "dots", optional=o) for o in (False, True))
    counts = Stage("counter", 0.5, "counts", optional=True)
    stages = [counts, needed, optional]
    left = possible_stages(stages, prepared_images("d", [5]))
    assert [(s.optional, s.share) for s in left] == [(s.optional, 1 / 3) for s in stages]
    left = possible_stages(stages, prepared_images("c", [5], labels="counts"))
    assert left == [counts, needed]


def test_ending_in_the_last_stage_leaves_prototypes_to_show(train, data, tmp_path):
    job = train(data, steps=40)
    for _ in job:
        folder = tmp_path / "model"
        if folder.exists() and Model.load(folder).prototypes:
            break
    job.close()
    left = Model.load(folder)
    assert not left.record.is_calibrated
    assert left.record.training["steps"] == 36


def test_ending_in_a_first_stage_that_nobody_judges_leaves_a_model(train, data, tmp_path):
    options = {"network": "countxplain", "network_config": {"width": 1 / 16, "depth": 8}}
    job = train(data, steps=40, **options)
    while next(job).message != "training":
        pass
    assert not (tmp_path / "model").exists()
    job.close()
    assert Model.load(tmp_path / "model").record.training["steps"] == 1


def test_the_record_tells_of_imagenet_weights(train, data, monkeypatch):
    build = train_module.build
    monkeypatch.setattr(
        train_module, "build", lambda name, config: build(name, config | {"pretrained": False})
    )
    for pretrained in (True, False):
        options = {"width": 1 / 16, "pretrained": pretrained}
        model = drain(
            train(data, str(pretrained), network="csrnet", network_config=options, steps=2)
        )
        assert ("started from" in model.record.training) == pretrained


def test_classes_are_not_learned_by_mistake(train, data, tiny_config):
    with pytest.raises(UserError, match="2 classes cannot be learned"):
        drain(train(data, network_config=tiny_config | {"classes": 2}))


def test_a_training_that_diverges_leaves_nothing_behind(train, data, tmp_path):
    job = train(data, steps=200, fit=replace(FAST, learning_rate=1e12, warmup=0.0))
    with pytest.raises(UserError, match="diverged"):
        drain(job)
    assert not (tmp_path / "model").exists()


def test_what_validation_judges_was_projected_before(train, data, tmp_path, monkeypatch):
    """So that it judges what would ship."""
    finished, judged = [], []

    def project(network, images, **where):
        finished.append(network)
        yield Progress(1, 1, "projecting")
        return Projection([], ())

    def judge(network, images, device):
        judged.append(network)
        return validate(network, images, device)

    monkeypatch.setattr("celltally.learn.train.iter_project", project)
    monkeypatch.setattr("celltally.learn.fit.validate", judge)
    job = train(data, steps=20)
    for step in job:
        if step.values.get("val_error") is not None:
            break
    assert Model.load(tmp_path / "model").record.training["steps"] == 3
    assert judged == finished
    drain(job)
    assert judged == finished
    assert len(judged) > 3


def test_what_the_projection_did_is_on_record(train, data, tmp_path):
    """Of the step that was kept; the figures after the refit are those of the model."""
    record = drain(train(data)).record
    figures = record.metrics["blobs"]
    assert {"mae", "mae_before_projection", "mae_projected"} <= figures.keys()
    words = record.training["projection"]
    assert f"{figures['mae_before_projection']:.3g} cells before it" in words
    assert f"{figures['mae_projected']:.3g} after it" in words
    assert f"{figures['mae']:.3g} with the last layer refitted" in words
    assert 1 <= record.training["distinct prototypes before projection"] <= 4
    assert 0 <= record.training["prototypes astray before projection"] <= 4
    assert words in (tmp_path / "model" / "README.md").read_text()


def test_where_nothing_was_projected_nothing_is_said_of_it(train, dataset_folder, tiny_config):
    counted = dataset_folder("counted", [4, 8, 6, 10, 5, 7], labels="counts")
    record = drain(train(counted)).record
    assert "projection" not in record.training
    assert set(record.metrics["counted"]) == {"n", "mae", "bias", "mean_count"}


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_is_none(train, data, seed):
    with pytest.raises(UserError, match=f"seed {seed} cannot be used"):
        next(train(data, seed=seed))
