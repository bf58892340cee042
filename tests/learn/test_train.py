import numpy as np
import pytest
import torch

from celltally.errors import UserError
from celltally.learn.fit import FitConfig
from celltally.learn.train import iter_train, make_plan
from celltally.model import Model
from celltally.predict import predict
from celltally.progress import drain

FAST = FitConfig(crop=32, batch=2, count_batch=2, count_every=2, validate_every=3)


@pytest.fixture
def train(tiny_config, tmp_path):
    def start(data, out="model", **options):
        settings = {"steps": 10, "device": "cpu", "network_config": tiny_config, "fit": FAST}
        return iter_train([data], out=tmp_path / out, **settings | options)

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
    def fail(model, pairs, *, device):
        yield from ()
        raise UserError("a broken image")

    monkeypatch.setattr("celltally.learn.train.calibrate_on", fail)
    with pytest.raises(UserError, match="a broken image"):
        drain(train(data))
    model = Model.load(tmp_path / "model")
    assert model.prototypes
    assert model.record.metrics


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
    model = drain(train(data, network_config=tiny_config | {"prototypes": 0}))
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
    child = drain(train(data, out="child", start=tmp_path / "parent", steps=5))
    assert child.record.parent == parent.sha256
    assert child.record.config == parent.record.config
    assert child.sha256 != parent.sha256
