from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import center_of_mass, label

import celltally.learn.batches as module
from celltally.learn.augment import Augmentation
from celltally.learn.batches import CountBatches, DotBatches
from celltally.learn.data import Sample
from celltally.learn.prepare import PreparedImage
from celltally.scale import MARGIN

STILL = Augmentation(gamma=1, gain=1, noise=0, blur=0.3, hue=0, saturation=1, stain=1, blank=0)


def prepared(pixels, yx, dataset="a", count=None):
    values = torch.from_numpy(np.asarray(pixels, dtype=np.float32) / 255)
    return PreparedImage(
        dataset=dataset,
        sample=Sample("s", Path("s.png")),
        values=(values[None] if values.ndim == 2 else values).half(),
        yx=yx,
        count=float(len(yx) if count is None else count),
        diameter_px=12.0,
        image_shape=pixels.shape[-2:],
    )


@pytest.fixture
def image(draw_cells, scatter):
    def draw(shape=(150, 170), n=14, seed=0, **options):
        yx = scatter(n, shape, np.random.default_rng(seed), apart=22)
        return prepared(draw_cells(yx, shape, sigma=2.5), yx, **options)

    return draw


@pytest.fixture(autouse=True)
def one_side(monkeypatch):
    """Crops of one size, so that a test knows what it looks at."""
    monkeypatch.setattr(module, "SIDES", (1.0,))


def batches(images, augmentation=None, seed=0, size=64, count=4, stride=2, **options):
    return DotBatches(
        images,
        size=size,
        count=count,
        multiple=16,
        stride=stride,
        nominal_px=12.0,
        rng=np.random.default_rng(seed),
        augmentation=augmentation,
        **options,
    )


def test_batches_differ_in_size_and_have_as_many_pixels(image, monkeypatch):
    monkeypatch.setattr(module, "SIDES", (0.5, 0.75, 1.0))
    source = batches([image()], size=64, count=9)
    shapes = {tuple(next(source).images.shape) for _ in range(30)}
    assert shapes == {(36, 3, 32, 32), (16, 3, 48, 48), (9, 3, 64, 64)}


def centres(field, threshold):
    """Centres of mass of the parts of a field above a threshold."""
    parts, n = label(field > threshold)
    return np.array(center_of_mass(field, parts, range(1, n + 1))).reshape(-1, 2)


def test_what_a_batch_holds(image):
    batch = next(batches([image()], Augmentation()))
    assert batch.images.shape == (4, 3, 64, 64)
    assert batch.thumbnails.shape == (4, 3, 64, 64)
    assert batch.density.shape == (4, 1, 32, 32)
    assert batch.images.dtype == batch.density.dtype == torch.float32
    assert torch.allclose(batch.counts, batch.density.sum(dim=(1, 2, 3)))
    assert batch.images.isfinite().all()
    assert (batch.density >= 0).all()


@pytest.mark.parametrize("augmentation", [None, STILL], ids=["turned", "zoomed and turned"])
@pytest.mark.parametrize("shape", [(150, 170), (50, 200), (40, 44)])
def test_dots_and_pixels_agree(image, augmentation, shape):
    """After zoom, flip, transposition and overhang the density peaks on the bright blobs."""
    source = batches([image(shape, n=8)], augmentation, count=12)
    agreed = 0
    for _ in range(3):
        batch = next(source)
        for values, density in zip(batch.images[:, 0], batch.density[:, 0], strict=True):
            cells = centres(np.clip(density.numpy(), 0, None), 0.04)
            bright = centres(values.numpy() - 0.3, 0.0)
            for y, x in (cells + 0.5) * 2 - 0.5:  # density cells to pixels
                if not (6 < y < 57 and 6 < x < 57):
                    continue  # cut by the crop's edge, so are both centres
                assert np.hypot(*(bright - (y, x)).T).min() < 0.8
                agreed += 1
    assert agreed > 15


def test_colour_images_keep_their_colours(image, draw_cells):
    grey = image()
    red = np.zeros((3, *grey.values.shape[1:]), dtype=np.uint8)
    red[0] = (grey.values[0].float() * 255).round().numpy()
    batch = next(batches([prepared(red, grey.yx)], STILL))
    assert batch.images[:, 0].max() > 0.5
    assert batch.images[:, 1:].max() < 0.01


@pytest.mark.parametrize("augmentation", [None, STILL], ids=["as it is", "zoomed"])
def test_a_whole_image_in_a_crop_keeps_its_whole_mass(draw_cells, augmentation):
    """Also of dots on the image's very border, where their Gaussian sticks out."""
    shape = (40, 44)
    yx = np.array([[-0.4, -0.4], [0, 20], [39.4, 43.4], [20, 43], [20, 20]])
    source = batches([prepared(draw_cells(yx, shape), yx)], augmentation, size=160)
    for _ in range(4):
        assert torch.allclose(next(source).counts, torch.tensor(5.0), atol=1e-3)


def test_beyond_the_border_there_is_nothing(image):
    source = batches([prepared(np.full((100, 100), 255), np.empty((0, 2)))], None, count=32)
    batch = next(source)
    share = (batch.images[:, 0] == 0).float().mean(dim=(1, 2))
    assert (share > 0).any()
    assert (share < 0.76).all()
    assert (batch.counts == 0).all()


def test_every_set_is_drawn_equally_often(image):
    images = [image(seed=s, dataset="large") for s in range(9)] + [image(dataset="small")]
    source = batches(images)
    drawn = [source._draw_image().dataset for _ in range(600)]
    assert 0.42 < drawn.count("small") / 600 < 0.58


def test_empty_fields_are_mixed_in(image):
    only_blank = Augmentation(blank=1.0)
    batch = next(batches([image()], only_blank))
    assert (batch.density == 0).all()
    assert batch.images.isfinite().all()
    colour = prepared(np.zeros((3, 80, 80)), np.array([[40.0, 40.0]]))
    assert next(batches([colour] * 2, only_blank, count=16)).counts.sum() > 0


def test_a_set_has_an_augmentation_of_its_own(image):
    images = [image(dataset="a"), image(dataset="b", shape=(60, 60))]
    source = batches(images, None, set_augmentations={"b": Augmentation(blank=1.0)})
    crops = [source._crop(images[i % 2], 160) for i in range(8)]
    empty = [float(crop.density.sum()) == 0 for crop in crops]
    assert empty == [False, True] * 4


def test_whole_images_of_a_set_have_an_augmentation_of_their_own(image):
    images = [image((40, 60), dataset="a", count=1), image((40, 60), dataset="b", count=2)]
    batch = next(
        CountBatches(
            images, count=16, multiple=16, stride=2, rng=np.random.default_rng(0),
            augmentation=None, set_augmentations={"b": Augmentation(gain=3.0)},
        )
    )  # fmt: skip
    sums = batch.images.sum(dim=(1, 2, 3))
    assert len(set(sums[batch.counts == 1].tolist())) == 1
    assert len(set(sums[batch.counts == 2].tolist())) > 1


def test_the_same_seed_draws_the_same_batches(image):
    images = [image(seed=s) for s in range(3)]
    first, second, other = (batches(images, Augmentation(), seed=seed) for seed in (3, 3, 4))
    for _ in range(3):
        a, b, c = next(first), next(second), next(other)
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.density, b.density)
        assert torch.equal(a.thumbnails, b.thumbnails)
        assert not torch.equal(a.images, c.images)


# ---- counts only ------------------------------------------------------------


def test_whole_images_of_which_the_count_is_known(image):
    images = [image((40, 60), n=3, count=7), image((33, 21), n=2, count=2)]
    source = CountBatches(
        images, count=6, multiple=16, stride=2, rng=np.random.default_rng(0), augmentation=None
    )
    batch = next(source)
    assert batch.density is None
    assert batch.images.shape == (6, 3, 48 + 2 * MARGIN, 64 + 2 * MARGIN)
    assert set(batch.counts.tolist()) == {7.0, 2.0}
    assert batch.inside.shape == (6, 1, 24 + MARGIN, 32 + MARGIN)
    for values, within, count in zip(batch.images, batch.inside, batch.counts, strict=True):
        shape = (40, 60) if count == 7 else (33, 21)
        inside = values[:, MARGIN : MARGIN + shape[0], MARGIN : MARGIN + shape[1]]
        assert (inside > 0).all()
        assert inside.sum() == pytest.approx(values.sum())
        first, rows, columns = MARGIN // 2, -(-shape[0] // 2), -(-shape[1] // 2)
        assert (within[0, first : first + rows, first : first + columns] == 1).all()
        assert within.sum() == rows * columns  # cells half in the image count, others not


def test_no_image_is_told_by_its_thumbnail(image):
    """Crops of an image are shown with thumbnails that changed as the crops did."""
    one = image()
    thumbnails = next(batches([one], Augmentation(blank=0))).thumbnails
    assert len({tuple(thumb.flatten().tolist()) for thumb in thumbnails}) == 4
    assert torch.equal(thumbnails[:, 0], thumbnails[:, 2])  # grey images stay grey
    mirrored = [one.thumbnail.flip(axes) for axes in ([], [1], [2], [1, 2])]
    for thumb in next(batches([one], STILL)).thumbnails:
        assert any(torch.allclose(thumb, known, atol=0.02) for known in mirrored)
    for thumb in next(batches([one])).thumbnails:
        assert torch.equal(thumb, one.thumbnail)


def test_a_crop_changes_as_its_thumbnail_does():
    """Also where the zeros around a crop are so many that it looks dark."""
    bright = prepared(np.full((3, 40, 40), 200.0), np.array([[20.0, 20.0]]))
    stains = Augmentation(gamma=1, gain=1, noise=0, blur=0.3, hue=0, saturation=1, blank=0)
    for batch in (next(batches([bright], stains, seed=seed, size=96)) for seed in range(4)):
        for crop, thumb in zip(batch.images, batch.thumbnails, strict=True):
            inside = crop[:, (crop > 0.3).all(dim=0)].median(dim=1).values
            assert not torch.allclose(inside, torch.full((3,), 200 / 255), atol=0.01)
            torch.testing.assert_close(inside, thumb[:, 32, 32], atol=0.02, rtol=0)


def test_whole_images_are_augmented_alike_for_the_same_seed(image):
    def draw(seed):
        rng = np.random.default_rng(seed)
        return next(
            CountBatches(
                [image((40, 60))],
                count=2,
                multiple=16,
                stride=2,
                rng=rng,
                augmentation=Augmentation(blank=0),
            )
        )

    first, again, other = draw(1), draw(1), draw(2)
    assert torch.equal(first.images, again.images)
    assert first.images.shape != other.images.shape or not torch.equal(first.images, other.images)
    assert not torch.equal(first.thumbnails, other.thumbnails)  # of the changed images


# ---- masks ------------------------------------------------------------------


@pytest.fixture
def masked(image):
    """An image and a mask of its own: its bright pixels."""

    def draw(shape=(150, 170), **options):
        one = image(shape, **options)
        one.__dict__["mask"] = one.values > 0.4
        return one

    return draw


def agrees(values, mask):
    """Whether a mask lies on the bright pixels, but for those on the cells' edges."""
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    values = values[:, :1]
    return (mask[values > 0.55] == 1).all() and (mask[values < 0.25] == 0).all()


@pytest.mark.parametrize("augmentation", [None, STILL], ids=["as they are", "zoomed and flipped"])
def test_whole_images_have_masks_as_well(masked, augmentation):
    images = [masked((40, 60), n=3, count=7), masked((33, 21), n=2, count=2)]
    source = CountBatches(
        images, count=6, multiple=16, stride=2, rng=np.random.default_rng(0),
        augmentation=augmentation, masks=True,
    )  # fmt: skip
    for _ in range(3):
        batch = next(source)
        assert batch.mask.shape == (6, 1, *batch.images.shape[2:])
        assert agrees(batch.images, batch.mask)
        assert torch.equal(batch.target.mask, batch.mask)


def test_the_margin_is_that_of_predictions(image):
    draw = partial(
        CountBatches, [image((40, 60))], count=1, multiple=16, stride=2, augmentation=None
    )
    batch, bare = (next(draw(rng=np.random.default_rng(0), margin=m)) for m in (MARGIN, 0))
    assert bare.images.shape[2:] == (48, 64)
    assert torch.equal(bare.images, batch.images[..., MARGIN : MARGIN + 48, MARGIN : MARGIN + 64])
    assert bare.inside.sum() == batch.inside.sum() == 20 * 30


def test_a_batch_moves_to_a_device(image):
    batch = next(batches([image()])).to(torch.device("cpu"))
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.density is not None
