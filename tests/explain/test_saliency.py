import copy
from importlib import import_module

import numpy as np
import pytest
import torch

from celltally.devices import SMALLEST_TILE
from celltally.errors import OutOfMemoryError, UserError
from celltally.explain.saliency import Saliency, iter_saliency, saliency
from celltally.model import Model
from celltally.networks import Output, build
from celltally.predict import predict
from celltally.preprocess import normalise
from celltally.progress import drain
from celltally.scale import MARGIN, model_shape, pad_with_margin, rescale, thumbnail

module = import_module("celltally.explain.saliency")
SHAPE = (67, 58)
CPU_FULL = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: not enough memory"
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def cells(rng, draw_cells, scatter):
    return draw_cells(scatter(10, SHAPE, rng), SHAPE, rng=rng)


@pytest.fixture
def float32(monkeypatch):
    """Counts to compare with, whatever this processor is good at."""
    monkeypatch.setattr("celltally.devices.cpu_is_good_at_bfloat16", lambda: False)


@pytest.fixture
def decoupled():
    """A network that takes whole images only."""
    torch.manual_seed(0)
    network = build("decoupled", {"width": 1 / 32})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    assert network.halo is None
    return Model.from_network(network, name="whole", diameter_px=12.0)


def explain(model, pixels, **options):
    return saliency(model, pixels, **{"diameter_px": 12.0, "device": "cpu"} | options)


def counting(model, pixels, diameter_px):
    """Count of normalised values at model scale with the image's context held, and the values.

    In float64, so that a step can be too short to leave a network's linear pieces.
    """
    network, (values, _) = copy.deepcopy(model.network).double(), normalise(pixels)
    image_shape = values.shape[1:]
    scaled = rescale(values, model_shape(image_shape, diameter_px, model.diameter_px)).double()

    @torch.no_grad()
    def count(values):
        whole = network.halo is None
        first = 0 if whole else MARGIN // network.stride
        padded = values if whole else pad_with_margin(values, network.multiple)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.Tensor, "float", torch.Tensor.double)
            context = network.encode_context(thumbnail(scaled)[None])
            density = network(padded.expand(3, -1, -1)[None], context).density[0]
        assert density.dtype == torch.float64
        rows, columns = (slice(first, first - (-n // network.stride)) for n in values.shape[1:])
        return float(density[:, rows, columns].sum())

    return count, scaled


def slopes(count, values, places, step):
    """|Δ count / Δ pixel| by central differences at places (channel, row, column)."""
    found = []
    for place in places:
        ends = []
        for sign in (1, -1):
            changed = values.clone()
            changed[place] += sign * step
            ends.append(count(changed))
        found.append(abs(ends[0] - ends[1]) / (2 * step))
    return np.array(found)


@pytest.mark.parametrize("name", ["tiny_model", "decoupled"])
@pytest.mark.parametrize("diameter", [12.0, 9.7])
def test_it_is_what_finite_differences_are(name, diameter, cells, request):
    model = request.getfixturevalue(name)
    found = explain(model, cells, diameter_px=diameter, tile=32)
    count, values = counting(model, cells, diameter)
    assert found.values.shape == tuple(values.shape[1:])
    assert found.count == pytest.approx(max(count(values), 0.0), rel=1e-3, abs=1e-3)
    # From the most salient pixel to one in the middle of all.
    order = np.argsort(-found.values, axis=None)[[0, 3, 10, 50, 200, found.values.size // 2]]
    rows, columns = np.unravel_index(order, found.values.shape)
    places = [(0, int(y), int(x)) for y, x in zip(rows, columns, strict=True)]
    expected = slopes(count, values, places, 1e-8)
    assert expected[0] > 2 * expected[-1] > 0
    np.testing.assert_allclose(found.values[rows, columns], expected, rtol=1e-3)


def test_colours_have_the_largest_of_their_three(tiny_model, rng, draw_cells, scatter):
    pixels = np.stack(
        [draw_cells(scatter(6, SHAPE, rng), SHAPE, rng=rng) for _ in range(3)], axis=-1
    )
    found = explain(tiny_model, pixels)
    count, values = counting(tiny_model, pixels, 12.0)
    assert values.shape[0] == 3
    y, x = np.unravel_index(found.values.argmax(), found.values.shape)
    each = slopes(count, values, [(c, y, x) for c in range(3)], 1e-8)
    assert each.max() > 1.2 * each.min()
    assert found.values[y, x] == pytest.approx(each.max(), rel=1e-3)


def test_a_grey_value_stands_for_three_equal_channels(tiny_model, cells, monkeypatch):
    weights = torch.tensor([1.0, 2.0, -0.5])[:, None, None]

    def forward(images, context=None):
        density = torch.nn.functional.avg_pool2d((weights * images).sum(1, keepdim=True), 2)
        return Output(density, torch.zeros_like(density))

    monkeypatch.setattr(tiny_model.network, "forward", forward)
    grey, colour = (explain(tiny_model, p) for p in (cells, np.stack([cells] * 3, axis=-1)))
    np.testing.assert_allclose(grey.values, 2.5 / 4, rtol=1e-6)
    np.testing.assert_allclose(colour.values, 2.0 / 4, rtol=1e-6)


@pytest.mark.parametrize("diameter", [5.0, 12.0, 31.0])
@pytest.mark.parametrize("tile", [16, 40])
def test_tiled_equals_untiled(tiny_model, cells, diameter, tile):
    whole = explain(tiny_model, cells, diameter_px=diameter, tile=100_000)
    tiled = explain(tiny_model, cells, diameter_px=diameter, tile=tile)
    assert whole.values.max() > 0
    assert tiled.count == pytest.approx(whole.count, rel=1e-5)
    np.testing.assert_allclose(tiled.values, whole.values, atol=1e-4 * whole.values.max())


def test_what_a_saliency_holds(float32, tiny_model, cells):
    found = explain(tiny_model, cells, diameter_px=8.0, image="a.png")
    counted = predict(tiny_model, cells, diameter_px=8.0, device="cpu")
    assert isinstance(found, Saliency)
    assert found.values.dtype == np.float32
    assert (found.values >= 0).all()
    assert found.count == pytest.approx(counted.count, rel=1e-4, abs=1e-4)
    assert (found.model, found.model_sha256) == ("tiny", tiny_model.sha256)
    assert (found.image, found.diameter_px, found.notes) == ("a.png", 8.0, ())
    assert found.grid.shape == found.values.shape == (100, 87)
    assert found.grid.step == (67 / 100, 58 / 87)
    assert found.grid.origin == (-0.5, -0.5)


def test_a_count_below_zero_is_none_and_still_has_its_gradient(tiny_model, cells, monkeypatch):
    forward = tiny_model.network.forward

    def negative(images, context=None):
        output = forward(images, context)
        return output._replace(density=output.density - 10.0)

    before = explain(tiny_model, cells)
    monkeypatch.setattr(tiny_model.network, "forward", negative)
    found = explain(tiny_model, cells)
    assert found.count == 0.0
    np.testing.assert_array_equal(found.values, before.values)


def test_it_lies_where_the_count_comes_from(tiny_model, cells, monkeypatch):
    """A network that adds up one place: its gradient is there, at any scale and in any tile."""

    def forward(images, context=None):
        density = torch.nn.functional.avg_pool2d(images[:, :1] ** 2, 2)
        return Output(density, torch.zeros_like(density))

    monkeypatch.setattr(tiny_model.network, "forward", forward)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    pixels = (250 * np.exp(-((y - 40.3) ** 2 + (x - 21.8) ** 2) / 50)).astype(np.uint8)
    for diameter in (6.0, 9.1, 12.0, 17.3):
        found = explain(tiny_model, pixels, diameter_px=diameter, tile=16)
        rows, columns = np.mgrid[: found.values.shape[0], : found.values.shape[1]]
        mass = found.values.astype(float)
        centre = [(rows * mass).sum() / mass.sum() + 0.5, (columns * mass).sum() / mass.sum() + 0.5]
        assert np.abs(found.grid.to_image(centre)[0] - (40.3, 21.8)).max() < 0.3


@pytest.mark.parametrize("value", [0, 250])
@pytest.mark.parametrize("shape", [(1, 1), (40, 30), (40, 30, 3)])
def test_a_constant_image_depends_on_nothing(tiny_model, value, shape):
    found = explain(tiny_model, np.full(shape, value, dtype=np.uint8), diameter_px=6.0)
    assert found.count == 0
    assert found.values.shape == found.grid.shape == (2 * shape[0], 2 * shape[1])
    assert not found.values.any()


@pytest.mark.parametrize("shape", [(1, 2), (3, 50), (50, 3), (17, 33, 3)])
@pytest.mark.parametrize("name", ["tiny_model", "decoupled"])
def test_small_and_narrow_images(name, shape, rng, request):
    model = request.getfixturevalue(name)
    found = explain(model, rng.integers(0, 255, shape).astype(np.uint8))
    assert found.values.shape == shape[:2]
    assert np.isfinite(found.values).all()
    assert found.values.any()


def test_the_diameter_is_estimated_where_none_is_given(tiny_model, cells, monkeypatch):
    monkeypatch.setattr("celltally.network_input.diameter_of", lambda values: 24.0)
    found = saliency(tiny_model, cells, device="cpu")
    assert found.diameter_px == 24.0
    assert found.values.shape == (34, 29)


@pytest.mark.parametrize(
    ("pixels", "options", "words"),
    [
        (np.full((9, 9), np.nan), {}, "every pixel is NaN"),
        (np.zeros((4, 4, 4, 4)), {}, "choose a channel and a plane"),
        (np.eye(9), {"diameter_px": 0.0}, "not above 0"),
        (np.eye(9), {"device": "gpu"}, "no device 'gpu'"),
    ],
)
def test_bad_input_is_one_sentence(tiny_model, pixels, options, words):
    with pytest.raises(UserError, match=words):
        explain(tiny_model, pixels, **options)


def test_two_steps_a_tile(tiny_model, cells):
    steps = list(iter_saliency(tiny_model, cells, diameter_px=12.0, device="cpu", tile=32))
    # Of the tiles of the margin alone nothing is asked.
    rows, columns = (len(range(MARGIN // 32, -(-(side + MARGIN) // 32))) for side in SHAPE)
    assert [step.done for step in steps] == list(range(1, 2 * rows * columns + 1))
    assert {step.total for step in steps} == {len(steps)}


def test_pixels_stay_as_they_are(tiny_model, cells):
    before = cells.copy()
    explain(tiny_model, cells)
    np.testing.assert_array_equal(cells, before)


# ---- memory -----------------------------------------------------------------


@pytest.fixture
def small_memory(tiny_model, monkeypatch):
    """A network that runs out of memory above so many pixels."""

    def limit(pixels, error=CPU_FULL):
        forward = tiny_model.network.forward

        def limited(images, context=None):
            if images.shape[2] * images.shape[3] > pixels:
                raise error
            return forward(images, context)

        monkeypatch.setattr(tiny_model.network, "forward", limited)

    return limit


def test_out_of_memory_makes_smaller_tiles_and_one_note(tiny_model, rng, small_memory):
    pixels = rng.integers(0, 20, (600, 20)).astype(np.uint8)
    pixels[50::100, 5:15] += 200
    expected = explain(tiny_model, pixels)
    small_memory(300 * (20 + 2 * MARGIN))
    steps = []
    job = iter_saliency(tiny_model, pixels, diameter_px=12.0, device="cpu", tile=1024)
    found = drain(job, steps.append)
    assert found.notes == (
        f"The memory did not suffice: explained in smaller tiles of {SMALLEST_TILE} px.",
    )
    assert found.notes[0] in [step.message for step in steps]
    np.testing.assert_allclose(found.values, expected.values, atol=1e-4 * expected.values.max())


def test_the_way_back_may_run_out_of_memory_too(tiny_model, rng, monkeypatch):
    pixels = rng.integers(0, 20, (600, 20)).astype(np.uint8)
    pixels[50::100, 5:15] += 200
    expected = explain(tiny_model, pixels)
    real, tried = torch.autograd.grad, []

    def full(count, window):
        tried.append(window.shape[1])
        if window.shape[1] > 300:
            raise CPU_FULL
        return real(count, window)

    monkeypatch.setattr(torch.autograd, "grad", full)
    found = explain(tiny_model, pixels, tile=1024)
    assert tried[0] > 600
    assert len(found.notes) == 1
    np.testing.assert_allclose(found.values, expected.values, atol=1e-4 * expected.values.max())


def test_when_nothing_fits(tiny_model, cells, small_memory):
    small_memory(1)
    with pytest.raises(OutOfMemoryError, match="close other programs"):
        explain(tiny_model, cells)


def test_a_whole_image_that_can_be_counted_but_not_explained(decoupled, cells, monkeypatch):
    """The way back needs several times the memory; nothing is begun that cannot end."""
    needed = SHAPE[0] * SHAPE[1] * decoupled.network.bytes_per_pixel
    monkeypatch.setattr("celltally.network_input.free_memory", lambda device: 2 * needed)
    predict(decoupled, cells, diameter_px=12.0, device="cpu")
    with pytest.raises(OutOfMemoryError, match=r"58 × 67 px at model scale, .* in one piece"):
        explain(decoupled, cells)
    monkeypatch.setattr("celltally.network_input.free_memory", lambda device: 8 * needed)
    assert explain(decoupled, cells).notes == ()


def test_a_tile_needs_more_memory_than_for_counting(tiny_model, cells, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "celltally.network_input.best_tile", lambda device, n: asked.append(n) or 256
    )
    predict(tiny_model, cells, diameter_px=12.0, device="cpu")
    explain(tiny_model, cells)
    assert asked[0] < asked[1]


# ---- state ------------------------------------------------------------------


def state():
    return (
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
        torch.is_autocast_enabled("cpu"),
    )


def test_at_no_yield_is_torch_switched_for_others(tiny_model, cells):
    before = state()
    job = iter_saliency(tiny_model, cells, diameter_px=12.0, device="cpu", tile=32)
    for _ in range(4):
        next(job)
        assert state() == before
    job.close()
    assert state() == before


def test_it_works_in_whatever_mode_torch_is(tiny_model, cells):
    expected = explain(tiny_model, cells)
    modes = (torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16))
    for mode in modes:
        with mode:
            found = explain(tiny_model, cells)
        np.testing.assert_array_equal(found.values, expected.values)


def test_an_abandoned_job_can_be_followed_by_another(tiny_model, cells):
    expected = explain(tiny_model, cells, tile=32)
    job = iter_saliency(tiny_model, cells, diameter_px=12.0, device="cpu", tile=32)
    next(job)
    job.close()
    np.testing.assert_array_equal(explain(tiny_model, cells, tile=32).values, expected.values)


def test_a_network_that_is_counted_with_meanwhile(tiny_model, cells):
    """The network is copied: moving or changing it between two steps does no harm."""
    expected = explain(tiny_model, cells, tile=32)
    model = Model(copy.deepcopy(tiny_model.network), tiny_model.record)
    job = iter_saliency(model, cells, diameter_px=12.0, device="cpu", tile=32)
    next(job)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(drain(job).values, expected.values)
