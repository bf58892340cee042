"""One round of learning from corrections, from a model and data set folders to a child."""

from __future__ import annotations

import json
from dataclasses import replace

import imageio.v3 as imageio
import numpy as np
import pytest

from celltally.appearance import APPEARANCE
from celltally.errors import UserError
from celltally.intervals import known_appearances
from celltally.learn.data import read_dataset
from celltally.learn.finetune import iter_finetune
from celltally.learn.outcome import Compared, RegionCounts
from celltally.learn.regions.loop import RegionFit
from celltally.learn.seen import image_hashes
from celltally.model import Model
from celltally.networks import build
from celltally.predict import predict, scaled_for
from celltally.progress import drain
from celltally.types import Calibration

FIT = RegionFit(pixels=20_000, validations=2)
CALIBRATION = Calibration(1.0, 0.0, 4.0, tuple(np.linspace(0, 2, 40)), 40, 40, "2024-01-01")


@pytest.fixture(autouse=True)
def _float32(monkeypatch):
    monkeypatch.setattr("celltally.devices.cpu_is_good_at_bfloat16", lambda: False)


@pytest.fixture
def parent(rehearsing, tmp_path):
    """A model that knows bright cells on a dark ground, and has patches of them."""
    folder = tmp_path / "older" / "images"
    shown = [
        scaled_for(rehearsing, imageio.imread(path), 12.0)[0].appearance
        for path in sorted(folder.iterdir())
    ]
    known = known_appearances(shown, list(map(str, range(len(shown)))), APPEARANCE)
    return rehearsing.with_calibration(replace(CALIBRATION, appearances=known))


@pytest.fixture
def dark(reviewed_folder):
    """Write a data set of dark cells on a bright ground, which the parent does not know."""

    def make(*args, **options):
        folder = reviewed_folder(*args, **{"shape": (48, 52)} | options)
        for path in (folder / "images").iterdir():
            imageio.imwrite(path, 255 - imageio.imread(path))
        return folder

    return make


def finetuned(model, *folders, steps=4, on_progress=None, **options):
    job = iter_finetune(model, folders, name="child", steps=steps, device="cpu", fit=FIT, **options)
    return drain(job, on_progress)


def bytes_of(model):
    return {name: t.numpy().tobytes() for name, t in model.network.state_dict().items()}


def test_a_round(parent, dark, rectangle, tmp_path):
    """The child learns, keeps its parent as base, and the parent stays as it is."""
    regions = {0: [rectangle(0, 0, 40, 40), rectangle(40, 0, 48, 30, "exclude")]}
    folder = dark([5, 6, 4, 7], regions)
    weights, record = bytes_of(parent), parent.record
    steps = []
    result = finetuned(
        parent, folder, on_progress=steps.append, project="Wells", by=["A. Person"], seed=3
    )
    assert bytes_of(parent) == weights
    assert parent.record is record

    child, learned = result.model, result.model.record.learned
    assert child.name == "child"
    assert child.sha256 != parent.sha256
    assert child.record.parent == parent.sha256
    assert child.base.sha256 == parent.sha256
    assert (learned.project, learned.by) == ("Wells", ("A. Person",))
    assert (learned.images, learned.regions, learned.kept_back) == (3, 3, 1)
    assert (learned.stated, learned.audits, learned.corrected) == (0, 0, 0)
    assert {"mae_before", "mae_after", "seconds"} <= set(learned.metrics)
    assert learned.helped is result.helped
    (judged,) = result.compared
    assert judged.judge == "kept back"
    assert judged.images == 1
    # Of a single image nothing is said firmly.
    assert result.sentences[0] == f"{learned.verdict}."
    assert "seem" in learned.verdict
    assert "p" not in learned.metrics
    dataset = read_dataset(folder, partly=True)
    kept = [s for s in dataset.samples if s.image.name == judged.regions[0].image]
    taught = [s for s in dataset.samples if s not in kept]
    assert child.record.taught_by == image_hashes(taught)
    assert child.record.chosen_by == image_hashes(kept)
    dots = judged.regions[0].counted + learned.dots
    assert dots <= 5 + 6 + 4 + 7

    messages = list(dict.fromkeys(s.message for s in steps))
    expected = [
        "reading",
        "looking at what was learned before",
        "looking for cells of another kind",
        "looking at what was kept back",
        "learning",
        "refitting the last layer",
        "finding the prototypes' pictures",
        "comparing",
    ]
    assert [m for m in messages if m in expected] == expected
    assert sum("loss" in s.values for s in steps) == 4
    told = [s.values for s in steps if "val_loss" in s.values]
    assert told
    assert len({v["parent_loss"] for v in told}) == 1

    stored = child.save(tmp_path / "models" / "child")
    loaded = Model.load(tmp_path / "models" / "child")
    assert loaded.sha256 == stored.sha256 == child.sha256
    assert bytes_of(loaded) == bytes_of(child)
    assert loaded.record.learned == learned
    assert bytes_of(loaded.base) == weights
    assert sorted(loaded.replay) == sorted(parent.replay)


def test_unlike_images_are_counted_as_before(parent, dark, tmp_path):
    child = finetuned(parent, dark([5, 6])).model
    older = imageio.imread(tmp_path / "older" / "images" / "older-1.png")
    own = imageio.imread(tmp_path / "cells" / "images" / "cells-0.png")
    before, after = (predict(m, older, diameter_px=12.0, device="cpu") for m in (parent, child))
    assert np.array_equal(before.density, after.density)
    assert before.count == after.count
    before, after = (predict(m, own, diameter_px=12.0, device="cpu") for m in (parent, child))
    assert not np.array_equal(before.density, after.density)


def test_the_same_seed_gives_the_same_child(parent, dark):
    folder = dark([5, 6])
    first, again, other = (finetuned(parent, folder, seed=s).model for s in (1, 1, 2))
    assert first.sha256 == again.sha256
    assert bytes_of(first) == bytes_of(again)
    assert other.sha256 != first.sha256


@pytest.mark.parametrize(
    "message",
    ["looking at what was learned before", "looking for cells of another kind", "learning"],
)
def test_a_job_that_is_closed(parent, dark, message):
    weights = bytes_of(parent)
    job = iter_finetune(parent, [dark([5, 6])], name="child", steps=4, device="cpu", fit=FIT)
    step = next(step for step in job if step.message == message)
    assert step.done == 1 < step.total  # it can be cancelled within the stage
    job.close()
    assert bytes_of(parent) == weights


def test_of_many_images_it_is_firm(parent, dark, monkeypatch):
    """What the record says later is what was said at once."""
    better = [RegionCounts(f"{i}.png", str(i), "", 10, 4 - i, 9) for i in range(6)]
    judges = (Compared("kept back", tuple(better)),)
    monkeypatch.setattr("celltally.learn.regions.course.compared", lambda judged: judges)
    result = finetuned(parent, dark([5, 6]), steps=1)
    learned = result.model.record.learned
    assert result.sentences[0] == "It helped."
    assert learned.metrics["p"] == 0.0312
    assert (learned.is_firm, learned.verdict) == (True, "It helped")


def test_a_child_of_a_child(parent, dark):
    """Taught the same and more it has the same base; taught other images its parent is its base."""
    first = dark([5, 6], name="first")
    child = finetuned(parent, first).model
    second = dark([7], name="second")
    grandchild = finetuned(child, first, second).model
    assert grandchild.record.parent == child.sha256
    assert grandchild.base.sha256 == parent.sha256
    assert grandchild.base.base is None
    other = finetuned(child, second).model
    assert other.base.sha256 == child.sha256
    assert other.base.base.sha256 == parent.sha256
    assert set(child.record.taught_by) < set(other.record.taught_by)


@pytest.mark.parametrize("seed", range(2))
def test_what_has_taught_the_parent_does_not_judge_the_child(parent, dark, seed):
    first = dark([5, 6], name="first")
    child = finetuned(parent, first).model
    again = finetuned(child, first, dark([4, 6, 5], name="second"), seed=seed)
    (judged,) = again.compared
    assert {r.image for r in judged.regions} <= {f"second-{i}.png" for i in range(3)}
    assert again.model.base.sha256 == parent.sha256


def test_nothing_tells_whether_it_helped(parent, dark):
    result = finetuned(parent, dark([5, 6]))
    assert result.helped is None
    assert result.model.record.learned.helped is None
    assert result.compared == ()
    assert result.sentences[0].startswith("Nothing tells how well it counts: all 2 regions")
    assert result.model.record.learned.verdict == "Nothing tells how well it counts"
    assert result.model.calibration.kind == "provisional"
    shown = result.examples
    assert [e.judge for e in shown] == [None, None]
    changes = [abs(e.after - e.before) for e in shown]
    assert changes == sorted(changes, reverse=True)
    for example in shown:
        assert example.pixels.dtype == np.uint8
        assert example.pixels.shape == (48, 52)
        assert len(example.dots) == example.counted in (5, 6)
        for dots in (example.dots, example.dots_before, example.dots_after):
            assert (dots >= -0.5).all()
            assert (dots < np.array([48, 52]) - 0.5).all()


def test_audit_regions_never_teach(parent, dark, rectangle, write_dots):
    """Whatever dots are in them, the child is the same; only the judgement differs."""
    regions = {0: [rectangle(0, 0, 48, 26), rectangle(0, 26, 48, 52, "audit")]}
    folder = dark([1, 5], regions)
    known = [(10, 10), (30, 12), (20, 20)]
    children = []
    for dots in ([(12, 40)], [(y, x) for y in (6, 18, 30, 42) for x in (32, 42)]):
        write_dots(folder, "cells-0", [*known, *dots], "added")
        children.append(finetuned(parent, folder))
    one, other = children
    assert bytes_of(one.model) == bytes_of(other.model)
    assert [c.compared[0].judge for c in children] == ["audit", "audit"]
    assert [c.compared[0].regions[0].counted for c in children] == [1, 8]
    learned = one.model.record.learned
    assert (learned.regions, learned.audits, learned.dots, learned.corrected) == (2, 1, 8, 3)
    assert "audit_mae_before" in learned.metrics


@pytest.mark.parametrize(("number", "kind"), [(18, "provisional"), (19, "calibrated")])
def test_from_nineteen_groups_on_the_interval_is_calibrated(parent, dark, rectangle, number, kind):
    whole = rectangle(0, 0, 32, 32, "audit")
    folder = dark([3] * (number + 1), {i: [whole] for i in range(1, number + 1)}, shape=(32, 32))
    child = finetuned(parent, folder, steps=1).model
    assert child.calibration.kind == kind
    assert child.calibration.audits.groups == number
    assert child.record.learned.audits == number


def test_without_judges_intervals_are_twice_as_wide(parent, dark):
    child = finetuned(parent, dark([5]), steps=1).model
    assert child.calibration.scores == pytest.approx([2 * s for s in parent.calibration.scores])
    assert len(child.calibration.appearances.points) > len(parent.calibration.appearances.points)


def test_stated_counts_alone(parent, dark, rectangle):
    folder = dark([5], {0: [rectangle(0, 0, 48, 52, stated=5)]})
    result = finetuned(parent, folder)
    learned = result.model.record.learned
    assert (learned.regions, learned.stated, learned.dots) == (0, 1, 0)
    assert learned.new_prototypes == ()
    assert [len(e.dots) for e in result.examples] == [0]


def test_new_prototypes_are_named_and_shown(parent, dark, monkeypatch, tmp_path):
    monkeypatch.setattr("celltally.learn.regions.prototypes.UNLIKE", 1.0)
    model = replace(parent, replay={})
    monkeypatch.setattr("celltally.learn.regions.prototypes.FAINT", 2.0)
    child = finetuned(model, dark([6, 7])).model
    new = child.record.learned.new_prototypes
    assert len(new) >= 2
    assert len(child.prototypes) == 4 + len(new) == child.record.config["prototypes"]
    assert all(p.patches for k, p in enumerate(child.prototypes) if k in new)
    assert {patch.dataset for k in new for patch in child.prototypes[k].patches} == {"cells"}
    loaded = Model.load(child.save(tmp_path / "grown").record.path)
    assert loaded.record.learned.new_prototypes == new


def test_a_blank_image_beside_others(parent, dark):
    folder = dark([5, 6])
    imageio.imwrite(folder / "images" / "cells-1.png", np.full((48, 52), 9, dtype=np.uint8))
    (folder / "dots" / "cells-1.csv").write_text("y,x\n")
    assert finetuned(parent, folder).model.record.learned.images == 2


def test_networks_that_look_at_whole_images_only(dark):
    model = Model.from_network(build("patch_regression"), name="whole", diameter_px=12.0)
    words = r"'whole' looks at whole images only \(patch_regression\)"
    with pytest.raises(UserError, match=words):
        finetuned(model, dark([5]))


def test_nonsense_is_refused_in_a_sentence(parent, dark, rectangle):
    folder = dark([5], {0: [rectangle(0, 0, 48, 52, stated=1e6)]})
    with pytest.raises(UserError, match="1,000,000 cells"):
        finetuned(parent, folder)
    small = dark([5], {0: [rectangle(0, 0, 9, 9)]}, name="small")
    with pytest.raises(UserError, match=r"small-0\.png is smaller than a cell"):
        finetuned(parent, small)


def test_the_record_can_be_written(parent, dark, tmp_path):
    child = finetuned(parent, dark([5], licence="the user's own"))
    folder = child.model.save(tmp_path / "m" / "renamed").record.path
    content = json.loads((folder / "model.json").read_text())
    assert content["learned"]["date"].endswith("Z")
    assert content["training"]["steps"] == 4
    assert [s["name"] for s in content["training_data"]] == ["cells"]
