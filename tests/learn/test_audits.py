"""Random regions of a user's images, and the calibrated copy."""

from __future__ import annotations

import itertools
from dataclasses import replace

import imageio.v3 as imageio
import numpy as np
import pytest

from celltally.density.regions import RegionSums
from celltally.errors import UserError
from celltally.intervals import count_in, of
from celltally.learn import audits
from celltally.learn.audit_store import AuditSession, AuditStore
from celltally.learn.audits import (
    Candidate,
    candidates_in,
    check_copy,
    copy_with_audits,
    draw_region,
    group_of,
    in_random_order,
    iter_field,
    unanswered,
)
from celltally.learn.seen import image_hash
from celltally.model import Model
from celltally.predict import iter_predict, predict
from celltally.progress import drain
from celltally.types import Grid


def some(names, units="images"):
    return [Candidate(name, group_of(name, units), lambda: np.zeros((4, 4))) for name in names]


def order(names, seed, n, units="images"):
    return [(c.name, k) for c, k in itertools.islice(in_random_order(some(names, units), seed), n)]


def lively(*arguments, **options):
    """Count, and find some cells everywhere, as a network with random weights does not."""
    found = yield from iter_predict(*arguments, **options)
    return replace(found, density=np.abs(found.density) + np.float32(0.02))


@pytest.fixture
def counting(tiny, monkeypatch):
    """A calibrated model that counts in milliseconds."""
    monkeypatch.setattr(audits, "iter_predict", lively)
    return Model.load(tiny)


@pytest.fixture
def pictures(tmp_path, draw_cells, scatter):
    """A folder with six images of cells."""
    folder = tmp_path / "mine"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        yx = scatter(20, (96, 120), rng)
        imageio.imwrite(folder / f"f{i}.png", draw_cells(yx, (96, 120), rng=rng))
    return folder


def test_every_group_comes_before_any_comes_again() -> None:
    names = [f"p_B{i:02d}_{k}.tif" for i in range(1, 6) for k in range(3)]
    first = order(names, 1, 15, "wells")
    assert len({group_of(name, "wells") for name, _ in first[:5]}) == 5
    assert sorted(first) == sorted((name, 0) for name in names)
    again = order(names, 1, 30, "wells")[15:]
    assert again == [(name, 1) for name, _ in first]
    assert order(names, 2, 15, "wells") != first


def test_an_image_that_is_added_does_not_change_the_order_of_the_others() -> None:
    names = [f"{i}.tif" for i in range(8)]
    before = order(names, 3, 8)
    after = [entry for entry in order([*names, "new.tif"], 3, 9) if entry[0] != "new.tif"]
    assert after == before


@pytest.mark.parametrize(
    ("name", "well"),
    [
        ("plate1_B7_s2.tif", "B07"),
        ("IXM_A06_s6_w1B95.tif", "A06"),
        ("r03c04.tif", "r03c04.tif"),
        ("P24.tif", "P24"),
        ("Q01.tif", "Q01.tif"),
        ("A25.tif", "A25.tif"),
    ],
)
def test_wells(name, well) -> None:
    assert group_of(name, "wells") == well
    assert group_of(name, "images") == name


def test_regions_hold_the_number_drawn_and_lie_anywhere() -> None:
    rng = np.random.default_rng(0)
    maps = np.full((1, 200, 300), 0.002, dtype=np.float32)  # 120 cells
    sums, boxes = RegionSums(maps, Grid((200, 300))), []
    for _ in range(300):
        top, left, bottom, right = draw_region(sums, (200, 300), 8.0, rng)
        assert 0 <= top < bottom <= 200
        assert 0 <= left < right <= 300
        assert 9 < maps[0, top:bottom, left:right].sum() < 42
        boxes.append((top, left, bottom, right))
    boxes = np.array(boxes)
    assert boxes[:, :2].min() == 0
    assert boxes[:, 2].max() == 200
    sizes = np.log(maps[0, 0, 0] * (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    assert np.mean(sizes < np.log(20)) == pytest.approx(0.5, abs=0.1)


def test_a_region_is_never_wider_than_can_be_counted() -> None:
    rng = np.random.default_rng(0)
    empty = RegionSums(np.zeros((1, 500, 500), dtype=np.float32), Grid((500, 500)))
    top, left, bottom, right = draw_region(empty, (500, 500), 5.0, rng)
    assert (bottom - top, right - left) == (150, 150)
    assert draw_region(empty, (40, 60), 5.0, rng) == (0, 0, 40, 60)


def test_a_field_shows_the_image_and_not_the_count(counting, pictures) -> None:
    (candidate,) = [c for c in candidates_in(pictures) if c.name == "f2.png"]
    field = drain(iter_field(counting, candidate, 0, seed=5, diameter_px=12.0, device="cpu"))
    again = drain(iter_field(counting, candidate, 0, seed=5, diameter_px=12.0, device="cpu"))
    other = drain(iter_field(counting, candidate, 1, seed=5, diameter_px=12.0, device="cpu"))
    assert field.audit.region == again.audit.region != other.audit.region
    pixels = imageio.imread(pictures / "f2.png")
    y, x = field.origin
    height, width = field.pixels.shape
    np.testing.assert_array_equal(field.pixels, pixels[y : y + height, x : x + width])
    top, left, bottom, right = field.frame
    assert field.audit.region[0] == (y + top - 0.5, x + left - 0.5)
    assert field.audit.region[2] == (y + bottom - 0.5, x + right - 0.5)
    prediction = drain(lively(counting, pixels, diameter_px=12.0, device="cpu"))
    assert field.audit.predicted == pytest.approx(
        count_in(prediction, field.audit.region), rel=1e-3
    )
    assert field.audit.image_predicted == pytest.approx(prediction.count)
    assert np.isnan(field.audit.counted)


def test_pixels_that_are_no_numbers_do_not_spoil_how_a_region_is_shown(counting, pictures) -> None:
    pixels = imageio.imread(pictures / "f1.png").astype(np.float32)
    pixels[:2] = np.nan
    candidate = Candidate("f1", "f1", lambda: pixels)
    field = drain(iter_field(counting, candidate, 0, seed=2, diameter_px=12.0, device="cpu"))
    dark, bright = field.limits
    assert np.nanmin(pixels) <= dark < bright <= np.nanmax(pixels)


def test_images_that_say_nothing(counting, pictures, tmp_path) -> None:
    (pictures / "broken.png").write_text("no image")
    imageio.imwrite(pictures / "blank.png", np.zeros((64, 64), np.uint8))
    found = {c.name: c for c in candidates_in(pictures)}
    for name in ("broken.png", "blank.png"):
        with pytest.raises(UserError, match=name):
            drain(iter_field(counting, found[name], 0, seed=1, device="cpu"))
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "none"):
        with pytest.raises(UserError):
            candidates_in(folder)


def test_an_image_that_helped_to_make_the_model_does_not_judge_it(counting, pictures) -> None:
    candidate = candidates_in(pictures)[0]
    barred = image_hash(type("S", (), {"image": candidate.path}))
    for kind in ("taught_by", "chosen_by"):
        model = replace(counting, record=replace(counting.record, **{kind: (barred,)}))
        with pytest.raises(UserError, match="helped to make the model"):
            drain(iter_field(model, candidate, 0, seed=1, device="cpu"))


def answer_all(model, folder, n) -> AuditStore:
    """Audit so many images: every one has a fifth more cells than the model found."""
    session = AuditSession(model.name, model.sha256, model.calibration_sha256, str(folder))
    store = AuditStore(folder.parent / "audits.jsonl", session)
    for _ in range(n):
        candidate, draw = next(iter(unanswered(candidates_in(folder), store)))
        job = iter_field(
            model, candidate, draw, seed=store.session.seed, diameter_px=12.0, device="cpu"
        )
        field = drain(job)
        counted = round(field.audit.predicted * 1.2)
        store.counted(replace(field.audit, counted=float(counted)), draw)
    return store


def test_a_calibrated_copy(counting, pictures, tmp_path) -> None:
    store = answer_all(counting, pictures, 4)
    assert len({a.image for a in store.audits}) == 4
    before = {p: p.read_bytes() for p in counting.record.path.rglob("*") if p.is_file()}
    copy = copy_with_audits(counting, store, tmp_path / "copy")
    assert {p: p.read_bytes() for p in before} == before
    again = Model.load(tmp_path / "copy")
    assert again.sha256 == counting.sha256
    assert again.calibration == copy.calibration
    assert again.calibration_sha256 != counting.calibration_sha256
    known = again.calibration.audits
    assert (known.parent, known.parent_calibration) == ("tiny", counting.calibration_sha256)
    assert (known.groups, known.regions, again.calibration.kind) == (4, 4, "provisional")
    assert store.sha256[:12] in again.record.training["audits"]
    assert f"seed {store.session.seed}" in again.record.training["audits"]
    assert again.record.training["calibrated from"].startswith("tiny (calibration ")
    assert "4 random regions in 4 images" in (tmp_path / "copy" / "README.md").read_text()
    pixels = imageio.imread(pictures / "f1.png")
    told = of(predict(again, pixels, diameter_px=12.0, device="cpu"))
    assert told.reason == "4 of 19 images audited: 15 more needed for a calibrated interval"
    copy_with_audits(counting, store, tmp_path / "copy")  # in place of an earlier copy


def test_the_users_images_are_no_longer_unlike(counting, pictures, tmp_path) -> None:
    narrow = replace(counting.calibration, ranges={"contrast": (90.0, 91.0)})
    model = counting.with_calibration(narrow)
    pixels = imageio.imread(pictures / "f1.png")
    assert of(predict(model, pixels, diameter_px=12.0, device="cpu")).kind == "not calibrated"
    copy = copy_with_audits(model, answer_all(model, pictures, 6), tmp_path / "copy")
    assert of(predict(copy, pixels, diameter_px=12.0, device="cpu")).kind == "provisional"


def test_a_copy_takes_the_place_of_nothing_else(counting, tmp_path) -> None:
    check_copy(counting.record, tmp_path / "free")
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "folder", counting.record.path):
        with pytest.raises(UserError, match="something else named"):
            check_copy(counting.record, place)
