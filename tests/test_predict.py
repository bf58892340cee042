from importlib import import_module

import numpy as np
import pytest
import torch

from celltally.devices import SMALLEST_TILE
from celltally.diameter import estimate_diameter
from celltally.errors import OutOfMemoryError, UserError
from celltally.model import Model
from celltally.networks import Output, build
from celltally.predict import infer, iter_predict, predict
from celltally.progress import drain
from celltally.scale import MARGIN
from celltally.types import Calibration

module = import_module("celltally.predict")  # the package's `predict` is the function
CPU = torch.device("cpu")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def cells(rng, draw_cells, scatter):
    return draw_cells(scatter(20, (101, 83), rng), (101, 83), rng=rng)


@pytest.fixture
def float32(monkeypatch):
    """Exact sums, whatever this processor is good at."""
    monkeypatch.setattr("celltally.devices.cpu_is_good_at_bfloat16", lambda: False)


def count(model, pixels, **options):
    return predict(model, pixels, **{"diameter_px": 12.0, "device": "cpu"} | options)


def test_what_a_prediction_holds(tiny_model, cells):
    prediction = count(tiny_model, cells, image="a.png")
    assert prediction.density.shape == prediction.variance.shape == (1, 51, 42)
    assert prediction.density.dtype == prediction.variance.dtype == np.float32
    assert (prediction.variance > 0).all()
    assert prediction.grid.shape == (51, 42)
    assert prediction.grid.step == (2.0, 2.0)
    assert prediction.image_shape == (101, 83)
    assert prediction.diameter_px == 12.0
    assert (prediction.model, prediction.model_sha256) == ("tiny", tiny_model.sha256)
    assert (prediction.calibration, prediction.calibration_sha256) == (None, "")
    assert set(prediction.statistics) == {
        "contrast", "colour", "brightness", "diameter_px", "diameter_ratio"
    }  # fmt: skip
    assert prediction.statistics["diameter_px"] == 12.0
    assert prediction.statistics["diameter_ratio"] == 12.0 / estimate_diameter(cells)
    assert prediction.image == "a.png"
    assert prediction.seconds > 0
    assert prediction.notes == ()


def test_the_calibration_travels_with_the_prediction(tiny_model, cells):
    model = tiny_model.with_calibration(Calibration(1, 0, 1, (1.0,), 1, 1, "2024-01-01"))
    prediction = count(model, cells)
    assert prediction.calibration is model.calibration
    assert prediction.calibration_sha256 == model.calibration_sha256


@pytest.mark.parametrize("diameter", [5.0, 9.7, 12.0, 31.0])
def test_tiled_equals_untiled(float32, tiny_model, cells, diameter):
    whole = count(tiny_model, cells, diameter_px=diameter, tile=100_000)
    tiled = count(tiny_model, cells, diameter_px=diameter, tile=32)
    assert abs(tiled.density.sum() - whole.density.sum()) < 1e-3 * abs(whole.density.sum())
    assert np.allclose(tiled.density, whole.density, atol=1e-4 * abs(whole.density).max())
    assert np.allclose(tiled.variance, whole.variance, rtol=1e-3)


def test_a_tile_a_step(tiny_model, cells):
    steps = list(iter_predict(tiny_model, cells, diameter_px=12.0, device="cpu", tile=32))
    assert [s.done for s in steps] == list(range(1, len(steps) + 1))
    assert {s.total for s in steps} == {len(steps)}
    rows, columns = (-(-(side + 2 * MARGIN) // 32) for side in cells.shape)
    assert len(steps) == rows * columns


@pytest.mark.parametrize("value", [0, 1, 250])
@pytest.mark.parametrize("shape", [(1, 1), (40, 30), (40, 30, 3)])
def test_a_constant_image_counts_nothing(tiny_model, value, shape):
    prediction = count(tiny_model, np.full(shape, value, dtype=np.uint8))
    assert prediction.count == 0
    assert not prediction.density.any()
    assert prediction.density.shape[1:] == prediction.grid.shape


def test_a_constant_image_without_a_diameter_has_the_models(tiny_model):
    assert predict(tiny_model, np.zeros((30, 30)), device="cpu").diameter_px == 12.0


def test_the_diameter_is_estimated_where_none_is_given(tiny_model, cells, monkeypatch):
    monkeypatch.setattr("celltally.network_input.diameter_of", lambda values: 24.0)
    prediction = predict(tiny_model, cells, device="cpu")
    assert prediction.diameter_px == 24.0
    assert prediction.grid.step == (2 * 101 / 50, 2 * 83 / 42)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64, np.float32, np.float64])
def test_the_type_of_the_pixels_does_not_matter(float32, tiny_model, cells, dtype):
    expected = count(tiny_model, cells)
    assert np.allclose(count(tiny_model, cells.astype(dtype)).density, expected.density, atol=1e-6)


def test_a_mask(tiny_model, cells):
    prediction = count(tiny_model, cells > 100)
    assert np.isfinite(prediction.density).all()


@pytest.mark.parametrize("shape", [(1, 2), (3, 50), (50, 3), (2, 2, 3), (17, 33, 3)])
def test_small_and_narrow_images(tiny_model, rng, shape):
    prediction = count(tiny_model, rng.integers(0, 255, shape).astype(np.uint8))
    assert prediction.grid.shape == (-(-shape[0] // 2), -(-shape[1] // 2))
    assert np.isfinite(prediction.count)


def test_pixels_that_are_partly_not_finite(float32, tiny_model, cells):
    pixels = cells.astype(np.float64)
    median = np.median(pixels)
    pixels[5, 5], pixels[6, 6], pixels[7, 7] = np.nan, np.inf, -np.inf
    filled = np.where(np.isfinite(pixels), pixels, median)
    expected = count(tiny_model, filled)
    assert np.allclose(count(tiny_model, pixels).density, expected.density, atol=1e-4)


@pytest.mark.parametrize(
    ("pixels", "options", "words"),
    [
        (np.full((9, 9), np.nan), {}, "every pixel is NaN"),
        (np.zeros((0, 0)), {}, "empty"),
        (np.zeros((4, 4, 4, 4, 3)), {}, "choose a channel and a plane"),
        (np.eye(9), {"diameter_px": -3.0}, "not above 0"),
        (np.eye(9), {"diameter_px": 0.0}, "not above 0"),
        (np.eye(9), {"diameter_px": float("nan")}, "no number"),
        (np.eye(9), {"device": "gpu"}, "no device 'gpu'"),
        (np.eye(9), {"device": "cuda:77"}, "cuda:77"),
    ],
)
def test_bad_input_is_one_sentence(tiny_model, pixels, options, words):
    with pytest.raises(UserError, match=words):
        count(tiny_model, pixels, **options)


def test_an_odd_scale_keeps_dots_in_place(tiny_model, monkeypatch):
    """A network that returns the brightness has its peak where the cell is."""

    def forward(images, context=None):
        density = torch.nn.functional.avg_pool2d(images[:, :1], 2)
        return Output(density, torch.zeros_like(density))

    monkeypatch.setattr(tiny_model.network, "forward", forward)
    y, x = np.mgrid[:101, :83]
    pixels = (250 * np.exp(-((y - 70.3) ** 2 + (x - 21.8) ** 2) / 50)).astype(np.uint8)
    for diameter in (6.0, 9.1, 12.0, 17.3):
        prediction = count(tiny_model, pixels, diameter_px=diameter, tile=32)
        mass = np.clip(prediction.density[0] - 0.05, 0, None).astype(float)
        rows, columns = np.mgrid[: mass.shape[0], : mass.shape[1]]
        centre = [(rows * mass).sum() / mass.sum() + 0.5, (columns * mass).sum() / mass.sum() + 0.5]
        assert np.abs(prediction.grid.to_image(centre)[0] - (70.3, 21.8)).max() < 0.3


# ---- memory -----------------------------------------------------------------

CUDA_FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
CPU_FULL = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: not enough memory"
)


@pytest.fixture
def small_memory(tiny_model, monkeypatch):
    """A network that runs out of memory above so many pixels."""

    def limit(pixels, error):
        forward = tiny_model.network.forward

        def limited(images, context=None):
            if images.shape[2] * images.shape[3] > pixels:
                raise error
            return forward(images, context)

        monkeypatch.setattr(tiny_model.network, "forward", limited)

    return limit


@pytest.mark.parametrize(
    "error", [CUDA_FULL, CPU_FULL, MemoryError("Unable to allocate")], ids=["gpu", "cpu", "numpy"]
)
def test_out_of_memory_makes_smaller_tiles_and_one_note(
    float32, tiny_model, rng, small_memory, error
):
    pixels = rng.integers(0, 20, (1100, 40)).astype(np.uint8)
    pixels[50::100, 10:30] += 200
    expected = count(tiny_model, pixels)
    small_memory(300 * (40 + 2 * MARGIN), error)
    steps = []
    job = iter_predict(tiny_model, pixels, diameter_px=12.0, device="cpu", tile=2048)
    prediction = drain(job, steps.append)
    assert len(prediction.notes) == 1
    assert f"smaller tiles of {SMALLEST_TILE} px" in prediction.notes[0]
    assert prediction.notes[0] in [s.message for s in steps]
    assert np.allclose(prediction.density, expected.density, atol=1e-5)


def test_when_nothing_fits(tiny_model, cells, small_memory):
    small_memory(1, CPU_FULL)
    with pytest.raises(OutOfMemoryError, match="close other programs"):
        count(tiny_model, cells)


def test_a_full_gpu_hands_over_to_the_cpu(tiny_model, monkeypatch):
    seen = []

    def infer_tiles(network, values, device, side):
        seen.append((device.type, side))
        yield from ()
        if device.type == "cuda":
            raise CUDA_FULL
        return (np.zeros((1, 1, 1)), np.zeros((1, 1, 1)))

    monkeypatch.setattr(module, "_infer_tiles", infer_tiles)
    monkeypatch.setattr("celltally.network_input.best_tile", lambda *_: 1024)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: seen.append("emptied"))
    job = infer(tiny_model.network, torch.zeros(1, 8, 8), device=torch.device("cuda"))
    _, notes = drain(job)
    assert notes == ("The memory of the GPU did not suffice: counted on the CPU.",)
    tried = [s for s in seen if s != "emptied"]
    assert tried == [("cuda", 1024), ("cuda", 512), ("cuda", 256), ("cpu", 1024)]
    assert seen.count("emptied") == 3


@pytest.fixture
def whole_model(monkeypatch):
    """A model whose network takes an image in one piece, and needs 100 bytes a pixel."""
    torch.manual_seed(0)
    network = build("patch_regression", {"backbone": "resnet10", "side": 32, "windows": 2})
    monkeypatch.setattr(network, "bytes_per_pixel", 100)
    return Model.from_network(network.eval(), name="whole", diameter_px=12.0)


def free(monkeypatch, **gigabytes):
    monkeypatch.setattr(
        "celltally.network_input.free_memory", lambda device: gigabytes[device.type] * 1e9
    )


def test_a_whole_image_that_cannot_fit_is_not_begun(whole_model, cells, monkeypatch):
    begun = []
    monkeypatch.setattr(whole_model.network, "iter_forward", lambda *_: begun.append(1))
    free(monkeypatch, cpu=0.0008)
    told = (
        r"83 × 101 px at model scale, .* in one piece \(0\.000838 GB needed, 0\.0008 GB free\); "
        r"give a larger cell diameter, or take a model that counts in tiles, such as .*'tally'$"
    )
    with pytest.raises(OutOfMemoryError, match=told):
        count(whole_model, cells)
    assert not begun


def test_a_whole_image_that_fits_is_counted(whole_model, cells, monkeypatch):
    free(monkeypatch, cpu=0.0009)
    assert count(whole_model, cells).notes == ()
    free(monkeypatch, cpu=0.0003)  # a larger diameter makes a smaller image
    assert count(whole_model, cells, diameter_px=24.0).notes == ()


def test_a_whole_image_that_fails_all_the_same(whole_model, cells, monkeypatch):
    def full(images, context=None):
        raise CPU_FULL

    monkeypatch.setattr(whole_model.network, "iter_forward", full)
    with pytest.raises(OutOfMemoryError, match=r"in one piece; give a larger cell diameter"):
        count(whole_model, cells)


@pytest.mark.parametrize(
    ("gigabytes", "expected"), [(0.0003, ["cpu"]), (0.0005, ["cuda"])], ids=["full", "half"]
)
def test_a_whole_image_too_large_for_the_gpu(whole_model, monkeypatch, gigabytes, expected):
    """Which holds twice as much, in half precision."""
    seen = []

    def infer_tiles(network, values, device, side):
        seen.append(device.type)
        yield from ()
        return (np.zeros((1, 1, 1)), np.zeros((1, 1, 1)))

    monkeypatch.setattr(module, "_infer_tiles", infer_tiles)
    monkeypatch.setattr("celltally.network_input.best_tile", lambda *_: 1024)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    free(monkeypatch, cuda=gigabytes, cpu=1.0)
    job = infer(whole_model.network, torch.zeros(1, 80, 100), device=torch.device("cuda"))
    _, notes = drain(job)
    assert seen == expected
    assert any("on the CPU" in note for note in notes) == (expected == ["cpu"])


def test_an_image_in_tiles_is_begun_whatever_is_free(tiny_model, cells, monkeypatch):
    free(monkeypatch, cpu=0.0)
    assert count(tiny_model, cells).notes == ()


def test_other_errors_are_not_hidden(tiny_model, cells, small_memory):
    small_memory(1, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1"):
        count(tiny_model, cells)


def test_an_image_that_no_memory_holds_once_rescaled(tiny_model, cells, monkeypatch):
    def full(values, shape):
        raise CPU_FULL

    monkeypatch.setattr("celltally.network_input.rescale", full)
    with pytest.raises(OutOfMemoryError, match=r"83 × 101 px .* give a larger diameter"):
        count(tiny_model, cells)


# ---- in one piece -----------------------------------------------------------


def test_a_network_of_pieces_can_be_stopped_between_them(whole_model, cells, monkeypatch):
    expected, before = count(whole_model, cells), state()
    monkeypatch.setattr("celltally.networks.patch_regression.AT_ONCE", 4)
    job = iter_predict(whole_model, cells, diameter_px=12.0, device="cpu")
    steps = [next(job), next(job)]
    # Windows of 60 px, 30 px apart, that see some of 101 × 83 px.
    assert [(s.done, s.total) for s in steps] == [(4, 20), (8, 20)]
    assert state() == before
    job.close()
    assert state() == before
    assert np.allclose(count(whole_model, cells).density, expected.density, atol=1e-4)


# ---- state ------------------------------------------------------------------


def state():
    return (
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
        torch.is_autocast_enabled("cpu"),
    )


@pytest.mark.parametrize("good", [True, False])
def test_at_no_yield_is_torch_switched_for_others(tiny_model, cells, monkeypatch, good):
    monkeypatch.setattr("celltally.devices.cpu_is_good_at_bfloat16", lambda: good)
    before = state()
    job = iter_predict(tiny_model, cells, diameter_px=12.0, device="cpu", tile=32)
    next(job)
    assert state() == before
    next(job)
    assert state() == before
    job.close()
    assert state() == before


def test_an_error_in_the_network_leaves_no_state(tiny_model, cells, small_memory):
    before = state()
    small_memory(1, RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        count(tiny_model, cells)
    assert state() == before


def test_an_abandoned_job_can_be_followed_by_another(tiny_model, cells):
    expected = count(tiny_model, cells, tile=32)
    job = iter_predict(tiny_model, cells, diameter_px=12.0, device="cpu", tile=32)
    next(job)
    job.close()
    assert np.array_equal(count(tiny_model, cells, tile=32).density, expected.density)


def test_predicting_changes_no_weights_and_not_the_pixels(tiny_model, cells):
    before = {n: t.clone() for n, t in tiny_model.network.state_dict().items()}
    pixels = cells.copy()
    count(tiny_model, pixels)
    assert np.array_equal(pixels, cells)
    for name, tensor in tiny_model.network.state_dict().items():
        assert torch.equal(tensor, before[name])
