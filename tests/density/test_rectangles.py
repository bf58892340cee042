import numpy as np

from celltally.density.rectangles import dots_inside, random_rectangles


def test_rectangles_lie_along_the_sides_and_within_the_image():
    found = random_rectangles((50, 200), 500, np.random.default_rng(0))
    assert found.shape == (500, 4, 2)
    low, high = found.min(axis=1), found.max(axis=1)
    assert (low >= -0.5 - 1e-9).all()
    assert (high <= np.array([49.5, 199.5]) + 1e-9).all()
    assert np.array_equal(found[:, 0], low)
    assert np.array_equal(found[:, 2], high)
    assert np.array_equal(found[:, 1], np.stack([low[:, 0], high[:, 1]], axis=1))
    shares = np.prod(high - low, axis=1) / (50 * 200)
    assert shares.min() < 0.01
    assert shares.max() > 0.7
    assert 0.01 < np.median(shares) < 0.2


def test_they_are_drawn_by_the_seed():
    first, again, other = (
        random_rectangles((9, 9), 5, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_dots_on_upper_and_left_sides_are_inside():
    yx = np.array([(1.0, 1.0), (1.0, 4.0), (4.0, 2.0), (2.0, 2.0), (0.9, 2.0)])
    assert dots_inside(yx, np.array([(1.0, 1.0), (1.0, 4.0), (4.0, 4.0), (4.0, 1.0)])) == 2
