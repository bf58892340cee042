"""What people reviewed, as a data set folder."""

from __future__ import annotations

import json

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from celltally.errors import UserError
from celltally.io import read_dots, read_regions
from celltally.learn.data import read_dataset, sample_dots
from celltally.progress import drain
from celltally.project.dataset import iter_export
from celltally.project.images import register, set_columns
from celltally.project.store import Store
from celltally.types import Dots

SHAPE = (100, 120)


@pytest.fixture
def add(store, tmp_path):
    """Write an image file and add it to the project."""

    def add(name: str, pixels: np.ndarray, **options: object) -> int:
        path = tmp_path / name
        if name.endswith(".png"):
            iio.imwrite(path, pixels)
        else:
            tifffile.imwrite(path, pixels, **options)
        return register(store, name=name, path=path, shape=SHAPE, pixel_size_um=(0.5, 0.5))

    return add


@pytest.fixture
def grey():
    return np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint16).reshape(SHAPE)


@pytest.fixture
def whole(rectangle):
    """Make a region of all of the image."""
    return lambda **options: rectangle(-0.5, -0.5, 99.5, 119.5, **({"kind": "reviewed"} | options))


def test_reviewed_images_become_a_data_set_that_can_be_read(
    store, add, grey, put, whole, count_image, tmp_path, path
):
    first, second, third = (add(f"{name}.tif", grey + i) for i, name in enumerate("abc"))
    set_columns(store, {first: {"well": "A01", "plate": "P"}, second: {"well": "A01"}})
    count_image(first, diameter_px=14.0)
    count_image(third)
    states = np.array(["confirmed", "proposed", "removed", "added"])
    dots = Dots.new([(5, 5), (9, 9), (20, 20), (50, 50)], state=states, label="live")
    put(first, dots, whole())
    put(second, None, whole(kind="audit"), whole(kind="count", stated=0.0))
    put(third, Dots.new([(5, 5)], state="added"))
    steps = []
    with Store(path, read_only=True) as reader:
        made = drain(iter_export(reader, tmp_path / "set"), steps.append)
    assert (made.images, made.regions, made.dots, made.missing) == (2, 3, 3, ())
    assert [(s.done, s.total) for s in steps] == [(0, 0), (1, 2), (2, 2)]

    found = read_dataset(made.folder)
    assert [s.stem for s in found.samples] == ["a", "b"]
    assert (found.name, found.diameter_px, found.licence) == ("set", 14.0, "the user's own")
    assert [s.group for s in found.samples] == ["set/P/A01", "set/A01"]
    assert (iio.imread(found.samples[0].image) == grey).all()
    assert len(sample_dots(found.samples[0], SHAPE)) == 3
    written = read_dots(made.folder / "dots" / "a.csv")
    assert sorted(written.state) == sorted(states)
    assert set(written.id) == set(dots.id)
    told = read_regions(made.folder / "regions" / "b.geojson")
    assert [(region.kind, region.stated) for region in told] == [("audit", None), ("count", 0.0)]
    meta = json.loads((made.folder / "dataset.json").read_text())
    assert (meta["group"], meta["channel"], meta["pixel_size_um"]) == ("well", "gray", 0.5)
    assert meta["labels"] == ["dots", "stated counts"]
    assert len(meta["made_from"]["a"]["sha256"]) == 64


def test_dots_that_nobody_vouches_for_stay_out(store, add, grey, put, rectangle, tmp_path):
    number = add("a.tif", grey)
    yx = [(5, 5), (70, 70), (80, 80)]
    dots = Dots.new(yx, state=np.array(["proposed", "proposed", "added"]))
    put(number, dots, rectangle(0, 0, 40, 40, kind="reviewed"))
    made = drain(iter_export(store, tmp_path / "set"))
    written = read_dots(made.folder / "dots" / "a.csv")
    assert sorted(map(tuple, written.yx)) == [(5, 5), (80, 80)]
    # Half an image that was reviewed is nothing to learn the whole from.
    with pytest.raises(UserError, match=r"only parts were reviewed, such as a\.png"):
        read_dataset(made.folder)


def test_a_stated_count_tells_of_no_dots(store, add, grey, put, whole, tmp_path):
    number = add("a.tif", grey)
    put(number, Dots.new([(5, 5), (9, 9)]), whole(stated=2.0))
    made = drain(iter_export(store, tmp_path / "set"))
    assert (made.regions, made.dots) == (1, 0)
    with pytest.raises(UserError, match="outside of them nothing is known"):
        read_dataset(made.folder)


def test_planes_are_files_of_their_own(store, add, put, whole, tmp_path):
    stack = np.arange(3 * 100 * 120, dtype=np.uint16).reshape(3, *SHAPE)
    number = add("s.tif", stack, imagej=True, metadata={"axes": "TYX"})
    put(number, Dots.new([(5, 5), (6, 60)], t=[1, 2], state="added"))
    put(number, None, whole(t=1), whole(t=2))
    made = drain(iter_export(store, tmp_path / "set"))
    for t in (1, 2):
        assert (iio.imread(made.folder / "images" / f"s_t{t}_z0.png") == stack[t]).all()
        dots = read_dots(made.folder / "dots" / f"s_t{t}_z0.csv")
        assert (len(dots), dots.t[0]) == (1, 0)
        (region,) = read_regions(made.folder / "regions" / f"s_t{t}_z0.geojson")
        assert region.t == 0
    found = read_dataset(made.folder)
    assert len({sample.group for sample in found.samples}) == 1  # one image is one group


def test_a_projection_is_exported_as_it_was_counted(store, add, put, whole, count_image, tmp_path):
    stack = np.random.default_rng(0).integers(0, 9, (3, *SHAPE)).astype(np.uint8)
    number = add("s.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    count_image(number, z_method="projection")
    put(number, Dots.new([(5, 5)], z=2, state="added"), whole(z=1))
    made = drain(iter_export(store, tmp_path / "set"))
    (image,) = (made.folder / "images").iterdir()
    assert (iio.imread(image) == stack.max(axis=0)).all()
    assert made.dots == 1


def test_colours_stay_colours_and_one_channel_is_one(store, add, put, whole, count_image, tmp_path):
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 255, (*SHAPE, 3), dtype=np.uint8)
    for name, channel in (("rgb.png", ""), ("green.png", "green")):
        number = add(name, rgb)
        count_image(number, channel=channel)
        put(number, None, whole())
    floats = rng.random(SHAPE).astype(np.float32)
    channels = add("c.tif", np.stack([floats, floats + 1]), metadata={"axes": "CYX"})
    count_image(channels, channel="1")
    put(channels, None, whole())
    made = drain(iter_export(store, tmp_path / "set"))
    images = made.folder / "images"
    assert (iio.imread(images / "rgb.png") == rgb).all()
    assert (iio.imread(images / "green.png") == rgb[..., 1]).all()
    assert (tifffile.imread(images / "c.tif") == floats + 1).all()
    assert json.loads((made.folder / "dataset.json").read_text())["channel"] is None


def test_names_that_clash_are_numbered(store, add, grey, put, whole, tmp_path):
    (tmp_path / "other").mkdir()
    for i, name in enumerate(("a.tif", "A.tif", "other/a.tif", "c d.tif")):
        put(add(name, grey + i), None, whole())
    made = drain(iter_export(store, tmp_path / "set"))
    names = sorted(path.name for path in (made.folder / "images").iterdir())
    assert len({name.casefold() for name in names}) == 4


def test_images_that_cannot_be_read_are_named(store, add, grey, put, whole, tmp_path):
    gone, kept = add("gone.tif", grey), add("kept.tif", grey + 1)
    other = add("other.tif", grey[:50] + 2)
    layer = register(store, name="a layer", shape=SHAPE)
    for number in (gone, kept, other, layer):
        put(number, None, whole())
    (tmp_path / "gone.tif").unlink()
    made = drain(iter_export(store, tmp_path / "set"))
    assert made.images == 1
    assert [sentence.split(" ")[0].rpartition("/")[2] for sentence in made.missing] == [
        *("gone.tif", "other.tif", "a")
    ]
    assert "50 × 120 pixels, and 100 × 120" in made.missing[1]


def test_nothing_half_is_left(store, add, grey, put, whole, tmp_path):
    for name in ("a.tif", "b.tif"):
        put(add(name, grey + len(name)), None, whole())
    before = sorted(tmp_path.iterdir())
    job = iter_export(store, tmp_path / "set")
    next(job)
    next(job)
    assert len(list(tmp_path.iterdir())) == len(before) + 1
    job.close()
    assert sorted(tmp_path.iterdir()) == before


def test_what_cannot_be_exported_is_refused(store, add, grey, put, rectangle, whole, tmp_path):
    with pytest.raises(UserError, match=r"nothing in study.celltally was reviewed"):
        drain(iter_export(store, tmp_path / "set"))
    number = add("a.tif", grey)
    put(number, None, rectangle(0, 0, 9, 9, kind="count"))
    with pytest.raises(UserError, match="was reviewed"):
        drain(iter_export(store, tmp_path / "set"))
    put(number, None, whole())
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        drain(iter_export(store, taken))
    with pytest.raises(UserError, match="no folder"):
        drain(iter_export(store, tmp_path / "none" / "set"))
    (tmp_path / "a.tif").unlink()
    with pytest.raises(UserError, match=r"no reviewed image can be read: .*a.tif is missing"):
        drain(iter_export(store, tmp_path / "set"))
    assert not (tmp_path / "set").exists()
