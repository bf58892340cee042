from dataclasses import replace

import numpy as np
import pytest

from celltally.errors import UserError
from celltally.intervals import likeness_score, of
from celltally.intervals.likeness import UNLIKE
from celltally.io import read_image, select_pixels
from celltally.learn.calibrate import calibrate_on, iter_calibrate, seen_ranges
from celltally.learn.data import read_dataset
from celltally.learn.looks import iter_looks
from celltally.learn.seen import image_hash
from celltally.model import Model
from celltally.predict import predict
from celltally.progress import drain


def test_a_calibrated_copy(tiny_model, dataset_folder, tmp_path):
    model = tiny_model.save(tmp_path / "plain")
    folder = dataset_folder("cal", [3, 5, 4, 6, 2])
    before = {p: p.read_bytes() for p in (tmp_path / "plain").iterdir()}
    steps = []
    calibrated = drain(
        iter_calibrate(model, [folder], out=tmp_path / "calibrated", device="cpu"), steps.append
    )
    assert sorted({(s.done, s.total) for s in steps}) == [(i, 5) for i in range(6)]
    assert [s.done for s in steps] == sorted(s.done for s in steps)
    again = Model.load(tmp_path / "calibrated")
    assert again.calibration == calibrated.calibration
    assert again.sha256 == model.sha256
    assert again.calibration_sha256 == calibrated.calibration_sha256 != ""
    calibration = again.calibration
    assert (calibration.n, calibration.groups, calibration.sets) == (5, 5, ("cal",))
    assert calibration.kind == "provisional"
    assert len(calibration.neighbours.points) == 5
    assert sum(len(b.scores) for b in calibration.regions.bins) > 0
    assert calibration.regions.bins[0].groups == 5
    assert {p: p.read_bytes() for p in (tmp_path / "plain").iterdir()} == before
    assert model.calibration is None


def test_the_interval_holds_what_it_was_calibrated_with(tiny_model, dataset_folder):
    dataset = read_dataset(dataset_folder("cal", [3, 5, 4, 6, 2, 7]))
    pairs = [(dataset, s) for s in dataset.samples]
    model = drain(calibrate_on(tiny_model, pairs, device="cpu"))
    for sample in dataset.samples:
        pixels = select_pixels(read_image(sample.image))
        prediction = predict(model, pixels, diameter_px=12.0, device="cpu")
        for name, (low, high) in model.calibration.ranges.items():
            assert low <= prediction.statistics[name] <= high
        interval = of(prediction, 0.95)
        assert interval.kind == "provisional"
        assert 0 <= interval.low <= interval.high


def test_counts_without_dots_calibrate_no_regions(tiny_model, dataset_folder):
    dataset = read_dataset(dataset_folder("cal", [3, 5], labels="counts"))
    model = drain(calibrate_on(tiny_model, [(dataset, s) for s in dataset.samples], device="cpu"))
    assert model.calibration.regions is None


@pytest.mark.parametrize("field", ["taught_by", "chosen_by"])
def test_what_a_model_has_seen_does_not_calibrate_it(tiny_model, dataset_folder, tmp_path, field):
    folder = dataset_folder("cal", [3, 5, 4])
    sample = read_dataset(folder).samples[1]
    record = replace(tiny_model.record, **{field: (image_hash(sample),)})
    job = iter_calibrate(replace(tiny_model, record=record), [folder], out=tmp_path / "copy")
    with pytest.raises(UserError, match=f"1 of the 3 images .*{sample.image.name}"):
        drain(job)
    assert not (tmp_path / "copy").exists()


def test_a_data_set_that_is_given_twice_counts_once(tiny_model, dataset_folder, tmp_path):
    folder = dataset_folder("cal", [3, 5])
    again = folder.parent / "sub" / ".." / folder.name
    (folder.parent / "sub").mkdir()
    model = drain(iter_calibrate(tiny_model, [folder, again], out=tmp_path / "copy"))
    assert (model.calibration.n, model.calibration.groups) == (2, 2)


def test_sizes_are_widened_by_a_factor(tiny_model, dataset_folder):
    sizes = [{"diameter_px": d, "diameter_ratio": 1.0} for d in (6.0, 24.0) for _ in range(200)]
    assert seen_ranges(sizes)["diameter_px"] == pytest.approx((6 / 2, 24 * 2))


def test_a_rare_wrong_estimate_is_no_size_of_cells():
    sizes = [{"diameter_px": d, "diameter_ratio": 1.0} for d in [*np.linspace(9, 11, 399), 300.0]]
    low, high = seen_ranges(sizes)["diameter_px"]
    assert 7 < low < 9
    assert 11 < high < 13


def test_the_model_knows_what_its_images_look_like(tiny_model, dataset_folder):
    taught = read_dataset(dataset_folder("taught", [3, 6, 4], diameter_px=12))
    dataset = read_dataset(dataset_folder("cal", [3, 6], diameter_px=12))
    pairs, others = ([(d, s) for s in d.samples] for d in (dataset, taught))
    model = drain(calibrate_on(tiny_model, pairs, others=others, device="cpu"))
    known = model.calibration.appearances
    expected = {f"{d.name}/{s.group}" for d, s in [*pairs, *others]}
    assert set(known.groups) == expected
    for _, sample in [*pairs, *others]:
        pixels = select_pixels(read_image(sample.image))
        shown = predict(model, pixels, diameter_px=12.0, device="cpu").appearance
        assert likeness_score(known, shown) > UNLIKE
    upside_down = predict(model, 255 - pixels, diameter_px=12.0, device="cpu").appearance
    assert likeness_score(known, upside_down) < UNLIKE


def test_of_many_images_some_are_looked_at(tiny_model, dataset_folder, monkeypatch):
    monkeypatch.setattr("celltally.learn.looks.MOST_APPEARANCES", 8)
    sets = [read_dataset(dataset_folder(name, [3] * 5, diameter_px=12)) for name in ("a", "b")]
    looks = drain(iter_looks([(d, s) for d in sets for s in d.samples]))
    groups = {look.group for look in looks}
    assert groups == {f"{d.name}/{d.samples[i].group}" for d in sets for i in (0, 4)}


def test_a_set_that_states_one_diameter_has_cells_of_more(tiny_model, dataset_folder):
    dataset = read_dataset(dataset_folder("cal", [3, 6], diameter_px=20))
    model = drain(calibrate_on(tiny_model, [(dataset, s) for s in dataset.samples], device="cpu"))
    low, high = model.calibration.ranges["diameter_px"]
    for sample in dataset.samples:
        pixels = select_pixels(read_image(sample.image))
        assert low < predict(model, pixels, device="cpu").diameter_px < high
    assert low <= 20 <= high


def test_groups_are_counted(tiny_model, dataset_folder):
    stems = ["w1-a", "w1-b", "w2-a"]
    folder = dataset_folder("cal", [3, 5, 4], stems=stems, group_pattern=r"(w\d)")
    dataset = read_dataset(folder)
    model = drain(calibrate_on(tiny_model, [(dataset, s) for s in dataset.samples], device="cpu"))
    assert (model.calibration.n, model.calibration.groups) == (3, 2)


def test_counts_only_calibrate(tiny_model, dataset_folder, tmp_path):
    folder = dataset_folder("cal", [3, 5], labels="counts")
    job = iter_calibrate(tiny_model, [folder], out=tmp_path / "out", device="cpu")
    assert drain(job).calibration.n == 2


def test_what_cannot_be(tiny_model, dataset_folder, tmp_path):
    with pytest.raises(UserError, match="no image to calibrate with"):
        drain(calibrate_on(tiny_model, [], device="cpu"))
    with pytest.raises(UserError, match="exists already"):
        drain(iter_calibrate(tiny_model, [dataset_folder()], out=tmp_path, device="cpu"))
    with pytest.raises(UserError, match="no data set folder"):
        drain(iter_calibrate(tiny_model, [tmp_path], out=tmp_path / "out", device="cpu"))
    assert not (tmp_path / "out").exists()
