"""What every registered family must keep; a new family adds a tiny config here."""

import copy
from functools import partial

import numpy as np
import pytest
import torch

from celltally.devices import autocast
from celltally.errors import UserError
from celltally.explain.saliency import saliency
from celltally.model import Model
from celltally.networks import (
    HasPieces,
    HasPrototypes,
    HasStages,
    HasVariance,
    Target,
    build,
    config_of,
    losses,
    names,
)
from celltally.predict import infer
from celltally.preprocess import normalise
from celltally.progress import drain
from celltally.scale import MARGIN, pad_with_margin, thumbnail

CPU = torch.device("cpu")
BATCH_NORM = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)
SHALLOW = {"widths": (8, 8), "encoder_blocks": (1, 1), "decoder_blocks": (1,), "depth": 8}
TINY_PYRAMID = {
    "image_height": 32,
    "image_width": 48,
    "down_filters": (4, 4),
    "cross_filters": 4,
    "head_filters": (4,),
    "vgg": (4, 0, 8, 0),
    "hidden": (8,),
}

#: Tiny instances of each family, by what they show.
INSTANCES = {
    "countxplain": {
        "all prototypes count": {"width": 1 / 16, "depth": 8},
        "cell prototypes count": {"width": 1 / 16, "depth": 8, "cell_only": True},
    },
    "csrnet": {"narrow": {"width": 1 / 16}},
    "decoupled": {
        # So narrow that what the fixture adds to the weights does not drown the messages' way.
        "as in the paper": {"width": 1 / 32},
        "as the authors' code": {
            "width": 1 / 32,
            "message_passing": False,
            "batch_norm": True,
            "head_widths": (256, 128),
        },
    },
    "fpn_counter": {
        "as in the paper": TINY_PYRAMID,
        "as in the authors' code": TINY_PYRAMID | {"down_filters": (1, 0), "aleatoric": "code"},
    },
    "patch_regression": {
        "windows overlap by half": {"backbone": "resnet18", "patch": 16, "step": 8, "side": 32},
    },
    "tally": {
        "prototypes": SHALLOW | {"prototypes": 4, "context": 4},
        "three levels": {
            "widths": (8, 8, 8),
            "encoder_blocks": (1, 0, 1),
            "decoder_blocks": (1, 1),
            "depth": 8,
            "prototypes": 4,
            "context": 4,
        },
    },
    "tally_plain": {"no context": SHALLOW | {"context": 0}},
}
CASES = [
    pytest.param((name, config), id=f"{name}, {label}")
    for name, configs in INSTANCES.items()
    for label, config in configs.items()
]


@pytest.fixture(params=CASES)
def network(request):
    """A network none of whose weights is zero, so that every layer has its say."""
    name, config = request.param
    torch.manual_seed(0)
    net = build(name, config)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net.eval()


def images_for(network, n=2, side=None, seed=1):
    side = side or 4 * network.multiple
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, 3, side, side, generator=generator)


def context_for(network, n=2):
    return network.encode_context(
        torch.rand(n, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    )


def lessons_of(network):
    """By what the network is trained: the loss of each stage, or that of a density."""
    if not isinstance(network, HasStages):
        return [
            lambda images, context, target: losses.density_loss(
                network(images, context).density, target.density, 0.1
            )
        ]
    return [partial(network.stage_loss, stage) for stage in network.stages]


def target_for(images, density):
    mask = (images[:, :1] > 0.5).float()
    return Target(density.sum(dim=(1, 2, 3)), density, None, mask)


def test_pieces_are_the_whole(network):
    if not isinstance(network, HasPieces):
        pytest.skip("the network looks at all of it at once")
    images, seen = images_for(network), []
    with torch.no_grad():
        output = drain(network.iter_forward(images), seen.append)
        whole = network(images)
    assert torch.equal(output.density, whole.density)
    assert torch.equal(output.log_variance, whole.log_variance)
    assert (seen[-1].done, {step.total for step in seen}) == (seen[-1].total, {seen[-1].total})


def test_every_family_has_instances_here():
    assert set(INSTANCES) == set(names())


def test_output_shapes_and_types(network):
    images = images_for(network)
    output = network(images, context_for(network))
    side = images.shape[-1] // network.stride
    assert output.density.shape == output.log_variance.shape == (2, 1, side, side)
    assert output.density.dtype == output.log_variance.dtype == torch.float32
    assert output.distances is None
    variance = output.log_variance.exp()
    assert (variance > 0).all()
    assert variance.isfinite().all()
    assert network.supervision


def test_variance_stays_positive_and_finite_on_extreme_images(network):
    images = 1e4 * (images_for(network) - 0.5)
    output = network(images)
    variance = output.log_variance.exp()
    assert (variance > 0).all()
    assert variance.isfinite().all()
    assert output.density.isfinite().all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (37, 53), (64, 41)])
def test_odd_sizes(network, shape):
    values = torch.rand(1, *shape)
    (density, log_variance), notes = drain(infer(network, values, device=CPU, tile=64))
    expected = (1, *(-(-side // network.stride) for side in shape))
    assert density.shape == log_variance.shape == expected
    assert np.isfinite(density).all()
    assert notes == ()


def test_an_image_has_its_mass_whatever_is_beside_it(network):
    """And its prediction has all of it, where a whole image is shown."""
    images = images_for(network, n=3)
    together = network(images).density.sum(dim=(1, 2, 3))
    alone = torch.cat([network(image[None]).density.sum(dim=(1, 2, 3)) for image in images])
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-4)
    assert len(set(together.tolist())) == 3
    if network.halo is None:
        (density, _), _ = drain(infer(network, images[0], device=CPU))
        context = network.encode_context(thumbnail(images[0])[None])
        with torch.inference_mode(), autocast(CPU):
            expected = float(network(images[:1], context).density.sum())
        assert density.sum() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("tile", [16, 40, 100])
def test_tiled_equals_untiled(network, tile):
    if network.halo is None:
        pytest.skip("takes whole images only")
    values = torch.rand(3, 107, 131, generator=torch.Generator().manual_seed(3))
    (whole, whole_variance), _ = drain(infer(network, values, device=CPU, tile=10_000))
    (tiled, tiled_variance), _ = drain(infer(network, values, device=CPU, tile=tile))
    assert abs(tiled.sum() - whole.sum()) < 1e-3 * max(abs(float(whole.sum())), 1.0)
    assert abs(tiled - whole).max() < 1e-3 * abs(whole).max()
    assert np.allclose(tiled_variance, whole_variance, atol=1e-3)


@pytest.mark.parametrize("colours", [1, 3])
def test_saliency_is_the_gradient_of_the_count_of_the_whole(network, colours, draw_cells, scatter):
    shape, rng = (61, 74), np.random.default_rng(0)
    planes = [draw_cells(scatter(9, shape, rng), shape, rng=rng) for _ in range(colours)]
    pixels = np.stack(planes, axis=-1) if colours == 3 else planes[0]
    model = Model.from_network(network, name="m", diameter_px=12.0)
    found = saliency(model, pixels, diameter_px=12.0, device="cpu", tile=24)

    # Laid out in memory as there: where a network has kinks, rounding decides on their side.
    layout = {"memory_format": torch.channels_last}
    network.to(**layout)
    values = torch.from_numpy(normalise(pixels)[0]).requires_grad_()
    padded = values if network.halo is None else pad_with_margin(values, network.multiple)
    first = 0 if network.halo is None else MARGIN // network.stride
    rows, columns = (slice(first, first - (-side // network.stride)) for side in shape)
    context = network.encode_context(thumbnail(values.detach())[None])
    density = network(padded.expand(3, -1, -1)[None].contiguous(**layout), context).density[0]
    count = density[:, rows, columns].sum()
    expected = torch.autograd.grad(count, values)[0].abs().amax(dim=0).numpy()

    assert expected.max() > 0
    assert found.values.shape == shape
    np.testing.assert_allclose(found.values, expected, rtol=1e-2, atol=1e-3 * expected.max())
    assert found.count == pytest.approx(max(float(count.detach()), 0.0), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("learning", [True, False])
def test_saliency_leaves_the_network_as_it_was(network, learning, draw_cells, scatter):
    rng = np.random.default_rng(0)
    pixels = draw_cells(scatter(5, (40, 44), rng), (40, 44), rng=rng)
    model = Model.from_network(network, name="m", diameter_px=12.0)
    parameters = list(network.requires_grad_(learning).parameters())
    for parameter in parameters[::2]:
        parameter.grad = torch.full_like(parameter, 3.0)
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    layouts = [parameter.stride() for parameter in parameters]

    saliency(model, pixels, diameter_px=12.0, device="cpu", tile=24)

    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())
    assert [parameter.stride() for parameter in parameters] == layouts
    assert {parameter.requires_grad for parameter in parameters} == {learning}
    assert all((parameter.grad == 3.0).all() for parameter in parameters[::2])
    assert all(parameter.grad is None for parameter in parameters[1::2])
    assert not network.training


def test_what_lies_beyond_the_halo_does_not_matter(network):
    if network.halo is None:
        pytest.skip("takes whole images only")
    assert network.halo % network.multiple == 0
    side = 2 * network.halo + 4 * network.multiple
    start = network.halo + network.multiple  # the core, in pixels
    stop = start + 2 * network.multiple
    images = images_for(network, n=1, side=side)
    core = (..., *2 * (slice(start // network.stride, stop // network.stride),))
    context = context_for(network, n=1)
    before = network(images, context).density
    for y, x in [
        (start - network.halo - 1, start),
        (start, stop + network.halo),
        (stop + network.halo, stop - 1),
        (stop - 1, start - network.halo - 1),
    ]:
        changed = images.clone()
        changed[..., y, x] += 10.0
        after = network(changed, context).density
        assert torch.equal(before[core], after[core])
        assert not torch.equal(before, after)


def test_save_and_load_to_the_same_bits(network, tmp_path):
    model = Model.from_network(network, name="m", diameter_px=12.0).save(tmp_path / "m")
    again = Model.load(tmp_path / "m")
    assert again.sha256 == model.sha256
    assert config_of(again.network) == config_of(network)
    images = images_for(network)
    context, other = context_for(model.network), context_for(again.network)
    before, after = model.network(images, context), again.network(images, other)
    assert torch.equal(before.density, after.density)
    assert torch.equal(before.log_variance, after.log_variance)


def test_gradients_reach_every_parameter(network):
    network.train()
    images, context = images_for(network), context_for(network)
    output = network(images, context)
    target = torch.rand(output.density.shape) / 10
    for lesson in lessons_of(network):
        lesson(images, context, target_for(images, target)).backward()
    if isinstance(network, HasVariance):
        losses.variance_loss(output.density, output.log_variance, target, (2, 8)).backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_the_variance_loss_leaves_the_density_alone(network):
    if not isinstance(network, HasVariance):
        pytest.skip("has no variance head of its own")
    network.train()
    output = network(images_for(network), context_for(network))
    target = torch.zeros_like(output.density)
    losses.variance_loss(output.density, output.log_variance, target, (2, 8)).backward()
    own = {id(p) for p in network.variance_parameters()}
    assert own
    for name, parameter in network.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.any())
        assert reached == (id(parameter) in own), name


def test_bfloat16_is_close_to_float32(network):
    images = images_for(network, side=8 * network.multiple)
    context = context_for(network)
    exact = network(images, context).density.detach()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        rough = network(images, context_for(network)).density
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().mean() < 0.05 * exact.abs().mean()
    assert abs(float(rough.sum() - exact.sum())) < 0.02 * float(exact.abs().sum())


def test_a_few_steps_lower_the_loss(network):
    torch.manual_seed(0)
    network.train()
    batch_norm = any(isinstance(m, BATCH_NORM) for m in network.modules())
    images = images_for(network, n=2 if batch_norm else 1)
    density = torch.zeros_like(network(images).density)
    density[..., 1, 3] = density[..., 3, 2] = 0.2
    target = target_for(images, density)
    for lesson in lessons_of(network):
        optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
        seen = []
        for _ in range(80):
            loss = lesson(images, None, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen.append(loss.item())
        assert seen[-1] < seen[0] - 0.3 * abs(seen[0])


def test_contributions_add_up_to_the_density(network):
    if not isinstance(network, HasPrototypes):
        pytest.skip("has no prototypes")
    images, context = images_for(network), context_for(network)
    features = network.features(images, context)
    similarities = network.similarities(network.distances(features))
    weight, bias = network.contribution_weights
    parts = weight[None, :, :, None, None] * similarities[:, None]
    total = parts.sum(dim=2) + bias[:, None, None]
    density = network(images, context).density
    assert torch.allclose(total, density, rtol=1e-5, atol=1e-6)
    kinds = network.prototype_kinds
    half = len(kinds) // 2
    assert kinds == ("cell",) * half + ("background",) * half
    assert network.prototypes.shape == (len(kinds), features.shape[1])


def test_training_and_evaluation_mode_agree(network):
    images, context = images_for(network), context_for(network)
    calm = network(images, context).density
    trained = copy.deepcopy(network).train()
    for module in trained.modules():
        if isinstance(module, BATCH_NORM):  # it alone is meant to differ
            module.eval()
    lively = trained(images, context).density
    assert torch.allclose(calm, lively, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "setting", "words"),
    [
        ("countxplain", {"cell_only": "False"}, "cannot have 'False' as 'cell_only'"),
        ("csrnet", {"density_weight": "abc"}, "give a value such as 100.0"),
        ("csrnet", {"pretrained": 1}, "cannot have 1 as 'pretrained'"),
        ("patch_regression", {"windows": 2.5}, "cannot have 2.5 as 'windows'"),
        ("fpn_counter", {"hidden": [8, "x"]}, "as 'hidden'"),
        ("tally", {"epsilon": 2}, "between 0 and 1"),
        ("tally", {"gain": 0}, "leaves no density"),
        (
            "tally",
            {"widths": [8] * 6, "encoder_blocks": [1] * 6, "decoder_blocks": [1] * 5},
            "multiples of 64",
        ),
    ],
)
def test_settings_of_a_wrong_kind_are_refused(name, setting, words):
    with pytest.raises(UserError, match=words):
        build(name, setting)
