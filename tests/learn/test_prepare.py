import imageio.v3 as imageio
import numpy as np
import pytest
import torch

from celltally.errors import UserError
from celltally.learn.data import read_dataset
from celltally.learn.prepare import prepare
from celltally.progress import drain


def prepared(folder, nominal=12.0):
    dataset = read_dataset(folder)
    return drain(prepare([(dataset, s) for s in dataset.samples], nominal))


def test_images_come_at_model_scale(dataset_folder):
    image = prepared(dataset_folder(counts=[4], diameter_px=8))[0]
    assert image.values.shape == (1, 96, 108)
    assert image.values.dtype == torch.float16
    assert image.is_grey
    assert image.image_shape == (64, 72)
    assert image.diameter_px == 8
    assert image.count == 4
    assert image.thumbnail.shape == (3, 64, 64)
    grid = image.grid(2)
    assert grid.shape == (48, 54)
    assert grid.step == pytest.approx((2 / 1.5, 2 / 1.5))


@pytest.mark.parametrize("diameter", [7, 12, 19])
def test_dots_stay_on_their_cells(dataset_folder, diameter):
    folder = dataset_folder(counts=[5], shape=(70, 93), diameter_px=diameter)
    image = prepared(folder)[0]
    values = image.values[0].float().numpy()
    near = np.round(image.yx).astype(int)
    assert values[near[:, 0], near[:, 1]].min() > 0.8
    assert values.mean() < 0.35
    # The centre of mass round each dot is the dot: pixel edges fell on pixel edges.
    y, x = np.mgrid[: values.shape[0], : values.shape[1]]
    offsets = []
    for dot in image.yx:
        near = np.hypot(y - dot[0], x - dot[1]) < 5 * 12 / diameter
        mass = np.where(near, np.clip(values - 0.4, 0, None), 0).astype(float)
        offsets.append(np.array([(y * mass).sum(), (x * mass).sum()]) / mass.sum() - dot)
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.05
    assert np.abs(offsets).max() < 0.15


def test_counts_only_have_no_dots(dataset_folder):
    images = prepared(dataset_folder(counts=[4, 6], labels="counts"))
    assert [i.yx for i in images] == [None, None]
    assert [i.count for i in images] == [4, 6]


def test_a_diameter_for_sets_that_state_none(dataset_folder, draw_cells, scatter):
    image = prepared(dataset_folder(counts=[6], diameter_px=None))[0]
    assert 5 < image.diameter_px < 14
    counted = prepared(dataset_folder("counted", [6], diameter_px=None, labels="counts"))[0]
    assert 5 < counted.diameter_px < 14
    assert counted.diameter_px != 12.0  # the nominal one
    folder = dataset_folder("tiny", [0], diameter_px=None)
    imageio.imwrite(folder / "images" / "tiny-0.png", np.eye(5, dtype=np.uint8))
    assert prepared(folder)[0].diameter_px == 12.0  # too small to be measured


def test_dark_cells_on_a_bright_ground_are_measured_as_cells(dataset_folder):
    folder = dataset_folder("stained", [6], diameter_px=None)
    path = folder / "images" / "stained-0.png"
    grey = prepared(folder)[0].diameter_px
    dark = 255 - imageio.imread(path)
    imageio.imwrite(path, np.stack([dark, dark // 2, dark], axis=-1))
    assert prepared(folder)[0].diameter_px == pytest.approx(grey, rel=0.5)


# ---- masks ------------------------------------------------------------------


def with_masks(folder, labels):
    """Put one label image beside every image."""
    (folder / "masks").mkdir()
    for path in (folder / "images").iterdir():
        imageio.imwrite(folder / "masks" / path.name, labels)
    return folder


def test_a_mask_of_the_data_set_comes_at_model_scale(dataset_folder):
    labels = np.zeros((64, 72), dtype=np.uint16)
    labels[10:20, 30:50] = 300  # beyond 8 bits
    labels[20:24, 30:50] = 7
    image = prepared(with_masks(dataset_folder(counts=[4], diameter_px=8), labels))[0]
    assert image.mask.shape == (1, 96, 108)
    assert image.mask.dtype == torch.bool
    expected = torch.zeros(1, 96, 108, dtype=torch.bool)
    expected[:, 15:36, 45:75] = True
    assert torch.equal(image.mask, expected)


def test_a_mask_of_another_size_is_told(dataset_folder):
    image = prepared(with_masks(dataset_folder(counts=[1]), np.ones((72, 64), np.uint8)))[0]
    with pytest.raises(UserError, match=r"has the shape \(72, 64\), but its image \(64, 72\)"):
        _ = image.mask


def test_without_a_mask_there_are_discs_round_the_dots(dataset_folder):
    image = prepared(dataset_folder(counts=[3], diameter_px=16))[0]
    y, x = np.mgrid[:48, :54]
    far = np.min([np.hypot(y - dot[0], x - dot[1]) for dot in image.yx], axis=0)
    mask = image.mask[0].numpy()
    assert mask[far < 5.9].all()  # of 12 px at model scale
    assert not mask[far > 6.1].any()


@pytest.mark.parametrize("kind", ["bright", "stained"])
def test_without_dots_otsus_threshold_tells_the_cells(dataset_folder, draw_cells, kind):
    folder = dataset_folder("counted", [1], labels="counts")
    cells = draw_cells(np.array([[20, 20], [40, 50]]), (64, 72))
    pixels = cells if kind == "bright" else np.stack([255 - cells] * 2 + [240 - cells], axis=-1)
    imageio.imwrite(folder / "images" / "counted-0.png", pixels)
    mask = prepared(folder)[0].mask[0]
    assert mask[20, 20]
    assert mask[40, 50]
    assert 30 < mask.sum() < 200


def test_progress_and_nothing_at_all(dataset_folder):
    dataset = read_dataset(dataset_folder(counts=[1, 2]))
    steps = list(prepare([(dataset, s) for s in dataset.samples], 12.0))
    assert [(s.done, s.total) for s in steps] == [(1, 2), (2, 2)]
    assert drain(prepare([], 12.0)) == []


@pytest.mark.parametrize("dot", ["70,10", "3,72", "-1,5"])
def test_a_dot_outside_its_image_is_told(dataset_folder, dot):
    folder = dataset_folder("blobs", [2], shape=(64, 72))
    (dots,) = (folder / "dots").iterdir()
    dots.write_text(dots.read_text() + dot + "\n")
    dataset = read_dataset(folder)
    with pytest.raises(UserError, match=r"outside the image \(64 × 72 px\)"):
        drain(prepare([(dataset, dataset.samples[0])], 12.0))
