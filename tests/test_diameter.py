import numpy as np
import pytest

from celltally import diameter
from celltally.diameter import BANDS, FIRST_SIGMA, band_features, estimate_diameter, position
from celltally.errors import UserError


@pytest.fixture
def weights():
    """Weights that find the band with the most energy."""
    kernel1 = np.zeros((2, 4, 3), dtype=np.float32)
    kernel1[0, 0, 1], kernel1[1, 0, 1] = 1.0, -1.0
    kernel2 = np.zeros((2, 2, 5), dtype=np.float32)
    kernel2[0, 0, 2] = kernel2[1, 1, 2] = 1.0
    kernel3 = np.zeros((1, 2, 3), dtype=np.float32)
    kernel3[0, :, 1] = 8.0, -8.0
    return {
        "kernel1": kernel1,
        "bias1": np.zeros(2, dtype=np.float32),
        "kernel2": kernel2,
        "bias2": np.zeros(2, dtype=np.float32),
        "kernel3": kernel3,
        "bias3": np.zeros(1, dtype=np.float32),
        "shift": np.zeros(1, dtype=np.float32),
    }


@pytest.fixture(autouse=True)
def _stored(weights, monkeypatch):
    monkeypatch.setattr(diameter, "_weights", lambda: weights)


@pytest.fixture
def field(draw_cells, scatter):
    def draw(sigma, shape=(240, 300)):
        rng = np.random.default_rng(0)
        yx = scatter(15, shape, rng, apart=8 * sigma)
        return draw_cells(yx, shape, sigma=sigma, rng=rng)

    return draw


def test_the_estimate_grows_with_the_cells(field):
    small, middle, large = (estimate_diameter(field(s)) for s in (2.0, 4.0, 8.0))
    assert middle / small == pytest.approx(2, rel=0.25)
    assert large / middle == pytest.approx(2, rel=0.25)


def test_it_is_given_to_a_tenth(field):
    estimate = estimate_diameter(field(4.3))
    assert estimate == round(estimate, 1)


def test_it_does_not_depend_on_gain_type_or_orientation(field):
    pixels = field(4.0)
    estimate = estimate_diameter(pixels)
    assert estimate_diameter(pixels.astype(np.uint16) * 50 + 3) == pytest.approx(estimate, rel=1e-3)
    assert estimate_diameter(pixels.astype(np.float64)) == pytest.approx(estimate, rel=1e-3)
    assert estimate_diameter(pixels.T) == pytest.approx(estimate, rel=0.01)
    assert estimate_diameter(np.stack([pixels] * 3, axis=2)) == pytest.approx(estimate, rel=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (7, 7), (64, 64), (64, 64, 3)])
def test_nothing_to_be_seen(shape):
    assert estimate_diameter(np.full(shape, 9, dtype=np.uint8)) is None


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (7, 300)])
def test_too_small_to_tell(shape):
    pixels = np.random.default_rng(0).integers(0, 255, shape)
    assert estimate_diameter(pixels) is None


@pytest.mark.parametrize("shape", [(8, 8), (9, 500), (31, 17)])
def test_small_images_have_an_estimate(shape):
    pixels = np.random.default_rng(0).integers(0, 5, shape)
    pixels[2:6, 2:6] += 200
    assert estimate_diameter(pixels) > 0


def test_no_cell_is_estimated_tiny(weights):
    weights["shift"][:] = -20.0
    image = np.random.default_rng(0).normal(0, 1, (64, 64))
    image[20:30, 20:30] += 50
    assert estimate_diameter(image) == diameter.SMALLEST_PX


def test_noise_has_no_diameter(weights):
    assert estimate_diameter(np.random.default_rng(0).normal(0, 1, (64, 64))) is None


def test_what_is_no_image():
    with pytest.raises(UserError, match="NaN"):
        estimate_diameter(np.full((20, 20), np.nan))


def test_features_of_a_large_image_come_from_windows():
    rng = np.random.default_rng(0)
    image = rng.random((200, 3000), dtype=np.float32)
    features = band_features(image)
    assert features.shape == (4, BANDS)
    assert features.dtype == np.float32
    assert features[0].mean() == pytest.approx(0, abs=1e-5)
    image[:, 600:1000] = 50.0  # between the windows
    assert np.array_equal(band_features(image), features)


def test_the_position_of_a_single_peak(weights):
    features = np.zeros((4, BANDS), dtype=np.float32)
    features[0] = -3.0
    features[0, 5] = 3.0
    assert position(features, weights) == pytest.approx(5, abs=1e-3)
    assert pytest.approx(3.96, abs=0.01) == FIRST_SIGMA * 2 ** (5 / 2)
