"""The counter of windows: what its windows see, and where their counts go."""

import math
from urllib.error import URLError

import pytest
import torch
from torch import nn

from celltally.errors import UserError
from celltally.networks import HasStages, HasVariance, Target, build, config_of
from celltally.networks.layers import variance_head
from celltally.networks.patch_regression import (
    BACKBONES,
    COUNTER,
    PatchRegression,
    PatchRegressionConfig,
)

TINY = {"backbone": "resnet18", "patch": 16, "step": 8, "side": 32, "windows": 8}
#: Patches of 2, 4, 3 and 1 steps.
OVERLAPS = [(16, 8), (16, 4), (12, 4), (8, 8)]


class Sum(nn.Module):
    """A backbone that counts without error: its one feature is the sum of the red channel."""

    def __init__(self, network: PatchRegression) -> None:
        super().__init__()
        colours = network.colours
        self.mean, self.deviation = colours.mean[0], colours.deviation[0]

    def forward(self, x):
        return (x[:, 0] * self.deviation + self.mean).sum(dim=(1, 2))[:, None]


@pytest.fixture(scope="module")
def network() -> PatchRegression:
    torch.manual_seed(0)
    return build("patch_regression", TINY).eval()


@pytest.fixture
def exact(monkeypatch):
    """Make networks that know the count of every window: the sum of its red values."""

    def make(patch: int = 16, step: int = 8, windows: int = 8) -> PatchRegression:
        bare = (nn.Identity(), 1)
        monkeypatch.setattr("celltally.networks.patch_regression._backbone", lambda _: bare)
        config = PatchRegressionConfig("resnet18", patch, step, side=patch, windows=windows)
        network = PatchRegression(config)
        network.backbone = Sum(network)
        network.variance = variance_head(2)
        nn.init.ones_(network.head.weight)
        nn.init.zeros_(network.head.bias)
        return network.eval()

    return make


def blobs(side: int, stride: int, n: int = 12, sigma: float = 2.5, seed: int = 0):
    """Images of ``n`` blobs of sum 1 each, and their density at a stride."""
    generator = torch.Generator().manual_seed(seed)
    yx = side * torch.rand(n, 2, generator=generator)
    along = torch.arange(side) + 0.5
    rows, columns = (torch.exp(-((along - c[:, None]) ** 2) / (2 * sigma**2)) for c in yx.T)
    image = torch.einsum("ny,nx->yx", rows, columns) / (2 * math.pi * sigma**2)
    density = stride**2 * nn.functional.avg_pool2d(image[None, None], stride)
    return image.expand(1, 3, side, side), density


def test_what_it_can_do(network):
    assert isinstance(network, HasVariance)
    assert isinstance(network, HasStages)
    assert network.supervision == {"dots"}
    assert network.halo is None
    assert network.stages == (COUNTER,)
    assert COUNTER.supervision == "dots"
    learning = {id(p) for p in network.stage_parameters(COUNTER)}
    assert learning | {id(p) for p in network.variance_parameters()} == {
        id(p) for p in network.parameters()
    }
    assert not learning & {id(p) for p in network.variance_parameters()}


def test_the_defaults_are_the_papers():
    assert PatchRegressionConfig() == PatchRegressionConfig("resnet152", 60, 30, 224, 32, False)


@pytest.mark.parametrize(("patch", "step"), OVERLAPS)
@pytest.mark.parametrize("shape", [(40, 56), (37, 53), (5, 50), (1, 1), (3, 9)])
def test_the_integral_is_the_count(exact, patch, step, shape):
    """Windows that count without error give the count, wherever the cells lie."""
    image = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(1))
    density = exact(patch, step)(image).density
    assert density.shape == (2, 1, -(-shape[0] // 2), -(-shape[1] // 2))
    assert torch.allclose(density.sum(dim=(1, 2, 3)), image[:, 0].sum(dim=(1, 2)), atol=1e-3)


@pytest.mark.parametrize(("patch", "step"), OVERLAPS)
def test_an_even_image_has_an_even_density(exact, patch, step):
    density = exact(patch, step)(torch.full((1, 3, 32, 48), 0.25)).density
    assert torch.allclose(density, torch.full_like(density, 0.25 * 4), rtol=1e-5)


def test_the_density_is_interpolated_between_windows(exact):
    """Halfway between two windows' centres it is halfway between their counts per area."""
    network = exact(16, 8)
    image = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(2))
    density = network(image).density[0, 0] / network.stride**2
    windows = image[0, 0].unfold(0, 16, 8).unfold(1, 16, 8).sum(dim=(2, 3)) / 16**2
    # Centres lie on the corners of cells: the mean of the four around is the value there.
    nodes = nn.functional.avg_pool2d(density[None], 2, stride=1)[0, 3::4, 3::4][:5, :5]
    # At a node the tent has its kink, so that the mean round it lies 1/8 towards the others.
    tent = torch.tensor([0.0625, 0.875, 0.0625])
    smooth = nn.functional.conv2d(windows[None, None], torch.outer(tent, tent)[None, None])[0, 0]
    assert torch.allclose(nodes[1:-1, 1:-1], smooth, rtol=1e-5)


@pytest.mark.parametrize(("patch", "step"), OVERLAPS)
@pytest.mark.parametrize("at", [(20, 31), (0, 0), (39, 47), (1, 25)])
def test_a_cell_is_counted_near_where_it_is(exact, patch, step, at):
    image = torch.zeros(1, 3, 40, 48)
    image[..., at[0], at[1]] = 1.0
    density = exact(patch, step)(image).density[0, 0]
    assert torch.isclose(density.sum(), torch.tensor(1.0), atol=1e-5)
    far = patch / 2 + step
    for axis, place in enumerate(at):
        along = density.sum(dim=1 - axis)
        middles = 2 * torch.arange(len(along)) + 1.0
        assert along[(middles - place - 0.5).abs() > far + 1].abs().max() < 1e-6


def test_batches_of_windows_change_nothing(network, monkeypatch):
    images = torch.rand(2, 3, 29, 40, generator=torch.Generator().manual_seed(3))
    whole = network(images)
    monkeypatch.setattr("celltally.networks.patch_regression.AT_ONCE", 7)
    parts = network(images)
    assert torch.allclose(parts.density, whole.density, rtol=1e-3, atol=1e-5)
    assert torch.allclose(parts.log_variance, whole.log_variance, atol=1e-4)


def test_the_way_back_to_the_image_looks_at_windows_again_some_at_a_time(network, monkeypatch):
    """What a deep backbone remembers of all windows would fit no memory."""
    images = torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(3))
    seen = []
    hook = network.backbone.register_forward_hook(lambda *call: seen.append(len(call[1][0])))
    back = images.clone().requires_grad_()
    network(back).density.sum().backward()
    monkeypatch.setattr(
        "celltally.networks.patch_regression.checkpoint", lambda look, *a, **_: look(*a)
    )
    at_once = images.clone().requires_grad_()
    network(at_once).density.sum().backward()
    hook.remove()
    network.zero_grad()
    windows = [8, 8, 4]
    assert seen[: len(windows)] == seen[2 * len(windows) :] == windows
    assert sorted(seen[len(windows) : 2 * len(windows)]) == sorted(windows)
    assert back.grad.abs().max() > 0
    assert torch.allclose(back.grad, at_once.grad, rtol=1e-4, atol=1e-6)


def test_variances_of_windows_add_up_as_counts_do(exact):
    """The variance of a count is the mean over the tilings of their windows' sums."""
    network = exact(16, 8)
    nn.init.zeros_(network.variance[2].weight)
    nn.init.constant_(network.variance[2].bias, math.log(0.01))
    variance = network(torch.rand(1, 3, 32, 48)).log_variance.detach().exp()
    of_a_window, windows, tilings = 0.01 * 8 * 8, 5 * 7, 4
    assert math.isclose(float(variance.sum()), of_a_window * windows / tilings, rel_tol=1e-4)
    inner = variance[..., 4:-4, 4:-4]
    assert torch.allclose(inner, torch.full_like(inner, 0.01), rtol=1e-4)


def test_the_loss_of_a_counter_without_error_is_none(exact):
    """However the windows are turned, and at borders, their true counts are what they show."""
    network = exact(16, 8, windows=200)
    image, density = blobs(64, network.stride)
    torch.manual_seed(0)
    loss = network.stage_loss(COUNTER, image, None, Target(torch.tensor([12.0]), density))
    turned = network.stage_loss(COUNTER, image.mT, None, Target(torch.tensor([12.0]), density))
    assert loss < 1e-3
    assert turned > 0.1


def test_the_loss_is_half_the_mean_squared_error(exact):
    network = exact(16, 8)
    nn.init.constant_(network.head.bias, 3.0)
    target = Target(torch.zeros(2), torch.zeros(2, 1, 16, 16))
    loss = network.stage_loss(COUNTER, torch.zeros(2, 3, 32, 32), None, target)
    assert torch.isclose(loss, torch.tensor(4.5), rtol=1e-4)


def test_windows_are_turned_by_thirty_degrees(exact, monkeypatch):
    network, seen = exact(16, 8, windows=500), []
    cut = "celltally.networks.patch_regression._cut"
    monkeypatch.setattr(
        cut, lambda m, c, angles, e, points: seen.append(angles) or m.new_zeros(500, 3, 16, 16)
    )
    target = Target(torch.zeros(1), torch.zeros(1, 1, 16, 16))
    network.stage_loss(COUNTER, torch.zeros(1, 3, 32, 32), None, target)
    image_angles, density_angles = seen
    assert torch.equal(image_angles, density_angles)
    degrees = (torch.rad2deg(image_angles)).round().unique()
    assert degrees.tolist() == [30.0 * n for n in range(12)]


def test_it_learns_from_dots_only(network):
    with pytest.raises(ValueError, match="needs a density"):
        network.stage_loss(COUNTER, torch.zeros(1, 3, 32, 32), None, Target(torch.zeros(1)))


def statistics(network):
    return torch.cat([m.running_mean for m in network.modules() if hasattr(m, "running_mean")])


def test_batch_norm_learns_with_the_counter_only():
    network = build("patch_regression", TINY).train()
    images = torch.rand(2, 3, 32, 32)
    target = Target(torch.zeros(2), torch.zeros(2, 1, 16, 16))
    before = statistics(network)
    network(images)
    assert torch.equal(statistics(network), before)
    network.stage_loss(COUNTER, images, None, target)
    after = statistics(network)
    assert not torch.equal(after, before)
    network(images)
    network.eval().stage_loss(COUNTER, images, None, target)
    assert torch.equal(statistics(network), after)


def test_every_parameter_of_the_counter_learns_from_its_loss():
    torch.manual_seed(0)
    network = build("patch_regression", TINY).train()
    for parameter in network.parameters():  # blocks start at zero
        parameter.data += 0.1 * torch.randn_like(parameter)
    target = Target(torch.ones(2), torch.rand(2, 1, 16, 16))
    network.stage_loss(COUNTER, torch.rand(2, 3, 32, 32), None, target).backward()
    assert all(p.grad is not None and p.grad.any() for p in network.stage_parameters(COUNTER))
    assert all(p.grad is None for p in network.variance_parameters())


def test_a_counter_that_learns():
    torch.manual_seed(0)
    network = build("patch_regression", TINY | {"windows": 16}).train()
    image, density = blobs(48, network.stride)
    image = 20 * image
    target = Target(torch.tensor([12.0]), density)
    optimizer = torch.optim.Adam(network.stage_parameters(COUNTER), lr=1e-3)
    seen = []
    for _ in range(12):
        loss = network.stage_loss(COUNTER, image, None, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    assert sum(seen[-3:]) < 0.5 * sum(seen[:3])


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_fits_the_head(backbone):
    with torch.device("meta"):
        network = build("patch_regression", {"backbone": backbone})
    side = network.config.side
    features = network.backbone(torch.rand(2, 3, side, side, device="meta"))
    assert network.head(features).shape == (2, 1)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"backbone": "vgg"}, "the backbone 'vgg' is none of: alexnet"),
        ({"patch": 60, "step": 32}, "a patch of 60 px is no multiple"),
        ({"patch": 45, "step": 15}, "or this is not even"),
        ({"step": 0}, "the step of 0 px"),
        ({"backbone": "alexnet", "side": 32}, "a side of 32 is below 63"),
        ({"windows": 1}, "1 windows are too few"),
        ({"backbone": "resnet10", "pretrained": True}, "no ImageNet weights of resnet10"),
    ],
)
def test_settings_that_make_no_network(setting, sentence):
    with pytest.raises(UserError, match=sentence):
        build("patch_regression", TINY | setting)


def test_weights_that_cannot_be_fetched(monkeypatch):
    def offline(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(UserError, match="ImageNet weights of resnet18 cannot be fetched"):
        build("patch_regression", TINY | {"pretrained": True})


def test_pretrained_weights_are_fetched_once(monkeypatch):
    from torchvision.models import resnet18

    state = resnet18().state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: state)
    network = build("patch_regression", TINY | {"pretrained": True})
    assert torch.equal(network.backbone.conv1.weight, state["conv1.weight"])
    assert config_of(network)["pretrained"] is False
