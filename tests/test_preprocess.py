import imageio.v3 as iio
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from celltally import preprocess
from celltally.errors import UserError
from celltally.preprocess import finite, image_statistics, intensity_range, normalise


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def cells(rng, draw_cells, scatter):
    return draw_cells(scatter(12, (80, 90), rng), (80, 90), rng=rng)


def test_shape_range_and_type(cells):
    values, scaling = normalise(cells)
    assert values.shape == (1, 80, 90)
    assert values.dtype == np.float32
    assert values.flags.c_contiguous
    assert np.percentile(values, 0.5) == pytest.approx(0, abs=0.01)
    assert np.percentile(values, 99.9) == pytest.approx(1, abs=0.01)
    assert not scaling.empty


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64, np.float32, np.float64])
def test_offset_gain_and_type_do_not_matter(cells, dtype):
    expected, _ = normalise(cells)
    values, _ = normalise(cells.astype(dtype) * dtype(11) + dtype(70))
    assert np.allclose(values, expected, atol=1e-4)


def test_bool_and_half():
    mask = np.zeros((20, 20), dtype=bool)
    mask[5:9, 5:9] = True
    for dtype in (bool, np.float16):
        values, _ = normalise(mask.astype(dtype))
        assert values.max() == 1
        assert values.min() == 0


def test_the_input_is_left_alone(cells):
    pixels = cells.astype(np.float32)
    pixels[3, 3] = np.nan
    before = pixels.copy()
    normalise(pixels)
    assert np.array_equal(pixels, before, equal_nan=True)


def test_colours_are_kept(rng):
    pixels = rng.integers(0, 200, (30, 40, 3)).astype(np.uint8)
    values, scaling = normalise(pixels)
    assert values.shape == (3, 30, 40)
    back = values * (scaling.high - scaling.low) + scaling.low
    inside = (values > -3) & (values < 3)
    assert inside.all()
    assert np.allclose(back, pixels.transpose(2, 0, 1), atol=1e-2)


def test_noise_is_not_blown_up(rng):
    """An empty field stays within a small part of the range; a field with cells fills it."""
    empty = 1000 + rng.normal(0, 10, (200, 200))
    values, scaling = normalise(empty)
    assert scaling.noise == pytest.approx(10, rel=0.05)
    assert scaling.high - scaling.low == pytest.approx(preprocess.NOISE_FLOOR * scaling.noise)
    assert values.std() < 0.15
    cells = empty.copy()
    cells[50:70, 50:70] += 500
    assert normalise(cells)[0][0, 55:65, 55:65].mean() > 0.9


def test_bright_specks_are_clipped(cells):
    pixels = cells.astype(np.float64)
    pixels[10, 10] = 1e7
    values, _ = normalise(pixels)
    assert values.max() == preprocess.CEILING
    assert np.percentile(values, 99.9) < 1.1


@pytest.mark.parametrize("value", [0, 7, -3.5])
def test_a_constant_image_is_empty(value):
    values, scaling = normalise(np.full((9, 9), value))
    assert scaling.empty
    assert (values == 0).all()
    assert not normalise(np.eye(9))[1].empty


def test_one_deviating_pixel_in_many_is_something():
    pixels = np.zeros((100, 100))
    pixels[4, 4] = 1
    values, scaling = normalise(pixels)
    assert not scaling.empty
    assert values.max() == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 40), (40, 2), (2, 2, 3)])
def test_small_shapes(rng, shape):
    values, _ = normalise(rng.integers(0, 255, shape).astype(np.uint8))
    assert values.shape[1:] == shape[:2]
    assert np.isfinite(values).all()


def test_nan_and_infinity_become_the_median(cells):
    pixels = cells.astype(np.float64)
    pixels[:2], pixels[2, :5], pixels[3, :5] = np.nan, np.inf, -np.inf
    values = finite(pixels)
    good = np.isfinite(pixels)
    assert np.array_equal(values[good], pixels[good].astype(np.float32))
    assert (values[~good] == np.median(pixels[good])).all()
    assert np.isfinite(normalise(pixels)[0]).all()


def test_finite_values_beyond_float32_stay_bright(cells):
    pixels = cells.astype(np.float64)
    bright = pixels > np.percentile(pixels, 95)
    pixels[bright] = 1e200
    values = finite(pixels)
    assert (values[bright] == values.max()).all()
    assert np.isfinite(normalise(pixels)[0]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nothing_finite(value):
    with pytest.raises(UserError, match="every pixel is NaN or infinite"):
        normalise(np.full((4, 4), value))


@pytest.mark.parametrize("largest", [1e30, 3e38])
def test_huge_values(largest):
    pixels = np.linspace(-largest, largest, 400).reshape(20, 20)
    values, _ = normalise(pixels)
    assert np.isfinite(values).all()
    assert values[0, 0, 0] < 0.1
    assert values[0, -1, -1] > 0.9
    assert (np.diff(values.ravel()) >= 0).all()


def test_tiny_values_beside_huge_ones():
    pixels = np.zeros((20, 20))
    pixels[::2] = 1e-30
    pixels[3, 3] = 1e30
    assert np.isfinite(normalise(pixels)[0]).all()


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.zeros((0, 5)), "empty"),
        (np.zeros((0, 0)), "empty"),
        (np.zeros((0, 4, 3)), "empty"),
        (np.zeros(5), "choose a channel and a plane"),
        (np.zeros((4, 4, 4)), "choose a channel and a plane"),
        (np.zeros((2, 2, 4, 4, 3)), "choose a channel and a plane"),
        (np.zeros((4, 4), dtype=complex), "complex128"),
        (np.full((4, 4), "a"), "<U1"),
        (np.full((4, 4), None), "object"),
    ],
    ids=lambda v: str(v.shape) + str(v.dtype) if hasattr(v, "shape") else v,
)
def test_what_is_no_image_plane(pixels, words):
    with pytest.raises(UserError, match=words):
        normalise(pixels)


def test_percentiles_of_a_large_image_come_from_a_sample(rng, monkeypatch):
    pixels = rng.normal(100, 10, (400, 600)).astype(np.float32)
    pixels[:100, :100] += 400
    exact = intensity_range(pixels)
    monkeypatch.setattr(preprocess, "SAMPLE_PIXELS", 10_000)
    sampled = intensity_range(pixels)
    assert sampled.low == pytest.approx(exact.low, abs=3)
    assert sampled.high == pytest.approx(exact.high, rel=0.02)


def test_noise_does_not_count_edges(rng):
    pixels = rng.normal(0, 2, (100, 100)).astype(np.float32)
    pixels[:, 30:60] += 1000
    assert intensity_range(pixels).noise == pytest.approx(2, rel=0.1)


def test_statistics_tell_images_apart(cells):
    def statistics(pixels):
        return image_statistics(*normalise(pixels))

    grey = statistics(cells)
    assert set(grey) == {"contrast", "colour", "brightness"}
    assert grey["colour"] == 0
    assert statistics(255 - cells)["brightness"] > grey["brightness"] + 0.3
    red = np.stack([cells, cells // 4, cells // 4], axis=2)
    assert statistics(red)["colour"] > 0.01
    noisy = cells + np.random.default_rng(1).normal(0, 30, cells.shape)
    assert statistics(noisy)["contrast"] < grey["contrast"]
    assert all(np.isfinite(v) for v in grey.values())


# ---- images that show nothing ---------------------------------------------------


@pytest.mark.parametrize(
    "field",
    [
        lambda r: r.normal(300, 10, (300, 400)),
        lambda r: r.poisson(5, (256, 256)).astype(np.uint16),
        lambda r: r.normal(20, 2, (256, 256)).astype(np.uint8),
        lambda r: 240 + r.integers(0, 6, (200, 200, 3)),
    ],
)
def test_pixel_noise_shows_nothing(field):
    _, scaling = normalise(field(np.random.default_rng(0)))
    assert scaling.empty


@pytest.mark.parametrize("contrast", [3.0, 10.0, 100.0])
def test_a_single_faint_cell_is_something(contrast):
    pixels = np.random.default_rng(0).normal(200, 5, (256, 256))
    pixels[100:112, 100:112] += 5 * contrast
    _, scaling = normalise(pixels)
    assert not scaling.empty


def jpeg(values, quality=75):
    data = iio.imwrite("<bytes>", values, extension=".jpg", quality=quality)
    return iio.imread(data)


@pytest.mark.parametrize(
    ("dtype", "offset", "scale"),
    [(np.float64, 1e8, 1.0), (np.int64, 10**10, 1), (np.int32, 10**9, 1), (np.float64, 0, 1e300)],
)
def test_an_offset_or_a_size_takes_no_digits(dtype, offset, scale, cells):
    far = (cells.astype(np.float64) * scale + offset).astype(dtype)
    values, scaling = normalise(far)
    expected, _ = normalise(cells)
    assert not scaling.empty
    np.testing.assert_allclose(values, expected, atol=1e-4)


def test_an_offset_with_holes_in_it(cells):
    far = cells.astype(np.float64) + 1e9
    far[0, :3] = np.nan, np.inf, -np.inf
    np.testing.assert_allclose(normalise(far)[0][:, 1:], normalise(cells)[0][:, 1:], atol=0.05)


NOISE = {
    "cut off at zero": lambda rng: rng.normal(0, 1, (200, 300)).clip(0, 255).astype(np.uint8),
    "few photons": lambda rng: rng.poisson(0.3, (200, 300)).astype(np.uint16),
    "more photons": lambda rng: rng.poisson(20, (200, 300)).astype(np.uint16),
    "interpolated": lambda rng: gaussian_filter(rng.normal(100, 9, (200, 300)), 1),
    "compressed": lambda rng: jpeg(rng.normal(128, 20, (200, 300)).clip(0, 255).astype(np.uint8)),
    "compressed colour": lambda rng: jpeg(
        rng.normal(128, 20, (200, 300, 3)).clip(0, 255).astype(np.uint8)
    ),
}


@pytest.mark.parametrize("kind", NOISE)
@pytest.mark.parametrize("seed", range(3))
def test_noise_of_every_kind_is_nothing(kind, seed):
    assert normalise(NOISE[kind](np.random.default_rng(seed)))[1].empty


@pytest.mark.parametrize("kind", NOISE)
def test_a_cell_in_noise_is_something(kind, draw_cells):
    noise = NOISE[kind](np.random.default_rng(0)).astype(np.float32)
    cell = draw_cells([[100, 150]], (200, 300), sigma=5) / 180 * 6 * noise.std()
    assert not normalise(noise + (cell if noise.ndim == 2 else cell[..., None]))[1].empty


def light(kind, strength, shape=(300, 400)):
    """Light that is ``strength`` times as strong at its brightest as at its dimmest."""
    y, x = (np.linspace(-1, 1, n) for n in shape)
    y = y[:, None]
    if kind == "vignette":
        return strength / (1 + (np.sqrt(strength) - 1) * (y**2 + x**2) / 2) ** 2
    bright = {
        "along x": (x + 1) / 2 + 0 * y,
        "slanting": (x + y + 2) / 4,
        "bulge": 1 - (y**2 + x**2) / 2,
        "off centre": np.exp(-((y + 0.4) ** 2 + (x - 0.2) ** 2) / 2),
    }[kind]
    return 1 + (strength - 1) * (bright - bright.min()) / np.ptp(bright)


LIGHTS = "along x", "slanting", "bulge", "vignette", "off centre"
UNEVEN = {
    "multiplied": lambda rng, light, sigma: 60 * light * rng.normal(1, sigma, light.shape),
    "added": lambda rng, light, sigma: 60 * (light + rng.normal(0, sigma, light.shape)),
    "photons": lambda rng, light, sigma: rng.poisson(light / sigma**2) * 60 * sigma**2,
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("how", UNEVEN)
@pytest.mark.parametrize("kind", LIGHTS)
def test_noise_in_uneven_light_is_nothing(kind, how, dtype):
    rng = np.random.default_rng(0)
    for strength, sigma in [(1.5, 0.1), (2, 0.3), (3, 0.02)]:
        field = UNEVEN[how](rng, light(kind, strength), sigma)
        field = (field * 20).clip(0, 65535) if dtype == np.uint16 else field.clip(0, 255)
        assert normalise(field.astype(dtype))[1].empty


@pytest.mark.parametrize("sigma", [0.02, 0.3])
@pytest.mark.parametrize("how", UNEVEN)
@pytest.mark.parametrize("kind", LIGHTS)
def test_a_faint_cell_in_uneven_light_is_something(kind, how, sigma):
    shape = (300, 400)
    bright = light(kind, 3)
    field = UNEVEN[how](np.random.default_rng(0), bright, sigma)
    y, x = np.ogrid[: shape[0], : shape[1]]
    for row, column in [(150, 200), (40, 350), (290, 10), (6, 200)]:
        disc = 1 / (1 + np.exp(np.hypot(y - row, x - column) - 6))
        here = {"multiplied": bright[row, column], "photons": bright[row, column] ** 0.5}
        assert not normalise(field + 5 * 60 * sigma * here.get(how, 1) * disc)[1].empty


@pytest.mark.parametrize("side", [16, 40, 70, 130, 260])
def test_a_cell_that_fills_the_image_is_not_taken_for_light(side):
    y, x = np.ogrid[:side, :side]
    disc = 1 / (1 + np.exp(np.hypot(y - side / 2, x - side / 2) - side / 4))
    assert not normalise(np.random.default_rng(0).normal(100, 5, (side, side)) + 50 * disc)[1].empty


def test_colours_that_are_equally_bright_are_something():
    red = np.indices((40, 40)).sum(axis=0) % 2 * 90
    assert not normalise(np.stack([red, 90 - red, 0 * red], axis=2))[1].empty
