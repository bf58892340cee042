import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from celltally.devices import autocast
from celltally.errors import UserError
from celltally.learn.fit import NORM_BATCHES, Budget, FitConfig, iter_fit, make_fabric
from celltally.learn.train import iter_train
from celltally.networks import HasStages, HasVariance, Target, build
from celltally.networks.fpn_counter import (
    COUNTER,
    FORMS,
    MASK,
    FPNCounterConfig,
    aleatoric_loss,
)
from celltally.predict import infer, predict
from celltally.progress import drain

TINY = {
    "image_height": 32,
    "image_width": 48,
    "down_filters": (4, 4),
    "cross_filters": 4,
    "head_filters": (4,),
    "vgg": (4, 0, 8, 0),
    "hidden": (8,),
}
FAST = FitConfig(count_batch=4, augmentation=None, learning_rate=2e-2)


def new_network(**config):
    torch.manual_seed(0)
    return build("fpn_counter", TINY | config)


@pytest.fixture
def network():
    """In evaluation mode, and with a mask that differs from place to place."""
    net = new_network()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net.eval()


def learning(network, stage):
    """As ``iter_fit`` makes it learn."""
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    for parameter in network.stage_parameters(stage):
        parameter.requires_grad_(True)
    return network.train()


def test_the_default_is_the_papers():
    """§3.1 and §3.2, built without memory for its weights."""
    with torch.device("meta"):
        network = build("fpn_counter")
    assert [tuple(c[0].weight.shape) for c in network.pyramid.across] == [(128, 128, 3, 3)] * 4
    heads = [*network.pyramid.mean, *network.pyramid.log_variance]
    filters = [
        [m.out_channels for m in head.modules() if isinstance(m, torch.nn.Conv2d)] for head in heads
    ]
    assert filters == [[256, 256, 1]] * 8
    vgg = [m.out_channels for m in network.counter.vgg.modules() if isinstance(m, torch.nn.Conv2d)]
    assert vgg == [64, 128, 256, 256, 512, 512, 512, 512]
    for head in (network.counter.count, network.counter.log_variance):
        linear = [m for m in head if isinstance(m, torch.nn.Linear)]
        assert linear[0].in_features == 512 * 3 * 4  # 192 × 256 px, halved six times
        assert [m.out_features for m in linear] == [1024, 512, 1]


def test_what_it_can_do(network):
    assert isinstance(network, HasStages)
    assert not isinstance(network, HasVariance)  # it has one, but no step of its own for it
    assert network.supervision == {"dots", "counts", "masks"}
    assert [(s.supervision, s.whole, s.judged) for s in network.stages] == [
        ("masks", True, False),
        ("counts", True, True),
    ]
    assert sum(s.share for s in network.stages) == 1
    parts = [{id(p) for p in network.stage_parameters(s)} for s in network.stages]
    assert parts[0] | parts[1] == {id(p) for p in network.parameters()}
    assert not parts[0] & parts[1]


@pytest.mark.parametrize("shape", [(32, 48), (37, 53), (200, 90), (3, 2)])
def test_masks_have_four_scales_and_maps_the_images_size(network, shape):
    images = torch.rand(2, 3, *shape)
    masks = network.pyramid(network._resized(images))
    assert [tuple(m.shape) for pair in masks for m in pair] == [(2, 1, 16, 24)] * 2 + [
        (2, 1, 8, 12)
    ] * 2
    output = network(images)
    assert output.density.shape == (2, 1, -(-shape[0] // 4), -(-shape[1] // 4))


def test_density_and_variance_add_up_to_those_of_the_count(network):
    images = torch.rand(3, 3, 61, 90)
    output = network(images)
    count, log_variance = network.counter(network.pyramid.mask(network._resized(images)))
    assert (count > 0).all()
    assert (output.density >= 0).all()
    torch.testing.assert_close(output.density.sum(dim=(2, 3)), count)
    torch.testing.assert_close(output.log_variance.exp().sum(dim=(2, 3)), log_variance.exp())


def test_the_density_lies_where_the_mask_does(network, monkeypatch):
    mask = torch.full((1, 1, 16, 24), -0.5)
    mask[..., :8, 12:] = 1.0  # the upper right quarter
    monkeypatch.setattr(network.pyramid, "mask", lambda images: mask)
    density = network(torch.rand(1, 3, 40, 72)).density[0, 0]
    assert density.shape == (10, 18)
    assert density[:4, 10:].sum() > 0.7 * density.sum()
    assert density[6:].sum() + density[:, :8].sum() < 1e-3 * density.sum()


def test_without_a_mask_the_count_is_spread_evenly(network, monkeypatch):
    mask = torch.full((1, 1, 16, 24), -1.0)
    monkeypatch.setattr(network.pyramid, "mask", lambda images: mask)
    output = network(torch.rand(1, 3, 40, 40))
    torch.testing.assert_close(output.density, output.density.mean().expand(1, 1, 10, 10))
    assert output.log_variance.isfinite().all()


@pytest.mark.parametrize("shape", [(37, 53), (40, 56)])
def test_a_whole_image_is_counted_as_a_whole(network, shape):
    """Also the density cells that reach beyond it, and those alone that lie in the image."""
    values = torch.rand(3, *shape)
    cpu = torch.device("cpu")
    (density, log_variance), _ = drain(infer(network, values, device=cpu, tile=16))
    with torch.inference_mode(), autocast(cpu):
        output = network(values[None])
    assert np.allclose(density, output.density[0], rtol=1e-2)
    assert np.allclose(log_variance, output.log_variance[0], atol=1e-2)


# ---- losses -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("paper", 3.0 / (2 * 2.0) + math.log(4.0)),
        ("code", 3.0 / (2 * 4.0) + math.log(4.0)),
        ("gaussian", 9.0 / (2 * 4.0) + math.log(4.0) / 2),
    ],
)
def test_the_forms_of_the_aleatoric_loss(form, expected):
    """Of an error of −3 where the standard deviation is taken to be 2."""
    loss = aleatoric_loss(torch.tensor([-3.0]), torch.tensor([4.0]).log(), form)
    assert float(loss) == pytest.approx(expected)


@pytest.mark.parametrize(("form", "scale"), [("paper", 0.25), ("code", None), ("gaussian", 1.2533)])
def test_where_the_aleatoric_loss_is_smallest(form, scale):
    """σ against the mean absolute error of normal errors, as the docstring states it."""
    errors = 5 * torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    s = torch.linspace(-5, 8, 1301)
    best = s[int(torch.stack([aleatoric_loss(errors, x, form) for x in s]).argmin())]
    mean = float(errors.abs().mean())
    if scale is None:
        assert math.exp(best) == pytest.approx(mean / 2, rel=0.03)
    else:
        assert math.exp(best / 2) == pytest.approx(scale * mean, rel=0.03)


@pytest.mark.parametrize("form", FORMS)
def test_the_losses_of_both_stages(network, form):
    network.config = replace(network.config, aleatoric=form, total_variation=0.5)
    images, mask = torch.rand(2, 3, 32, 48), (torch.rand(2, 1, 32, 48) > 0.5).float()
    target = Target(torch.tensor([3.0, 40.0]), mask=mask)
    count, log_variance = network.counter(network.pyramid.mask(images))
    expected = aleatoric_loss(count[:, 0] - target.counts, log_variance[:, 0], form)
    assert torch.equal(network.stage_loss(COUNTER, images, None, target), expected)
    expected = 0.0
    for scale, (mean, log_variance) in zip((2, 4), network.pyramid(images), strict=True):
        error = mean - functional.avg_pool2d(mask, scale)
        expected += aleatoric_loss(error, log_variance, form)
        variation = sum((mean.diff(dim=axis) ** 2).sum() for axis in (2, 3))
        expected += 0.5 * variation / 2  # two images
    torch.testing.assert_close(network.stage_loss(MASK, images, None, target), expected)


def test_images_are_cut_out_of_the_padding_around_them(network):
    """So that they are resized as they are when they are counted."""
    image, mask = torch.rand(1, 3, 22, 30), torch.rand(1, 1, 22, 30)
    around = (8, 34, 4, 14)
    target = Target(torch.tensor([5.0]), mask=functional.pad(mask, around))
    inside = functional.max_pool2d(functional.pad(torch.ones(1, 1, 22, 30), around), 4)
    padded = functional.pad(image, around)
    for stage in network.stages:
        alone = network.stage_loss(stage, image, None, target._replace(mask=mask))
        cut = network.stage_loss(stage, padded, None, target._replace(inside=inside))
        torch.testing.assert_close(cut, alone)
        assert network.stage_loss(stage, padded, None, target) != alone


def test_the_mask_stage_needs_masks(network):
    with pytest.raises(ValueError, match="needs masks"):
        network.stage_loss(MASK, torch.rand(2, 3, 32, 48), None, Target(torch.ones(2)))


# ---- learning -----------------------------------------------------------------


@pytest.mark.parametrize("stage", [MASK, COUNTER], ids=lambda stage: stage.name)
def test_a_stage_changes_its_own_part_alone(network, stage):
    """The statistics of batch norms included."""
    network = learning(network, stage)
    before = copy.deepcopy(network.state_dict())
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    images, mask = torch.rand(3, 3, 32, 48), torch.ones(3, 1, 32, 48)
    network.stage_loss(stage, images, None, Target(torch.rand(3) * 9, mask=mask)).backward()
    optimizer.step()
    part = "pyramid" if stage == MASK else "counter"
    for name, tensor in network.state_dict().items():
        changed = not torch.equal(tensor, before[name])
        assert not changed or name.startswith(part), name
    assert any(
        name.endswith("running_mean") and not torch.equal(tensor, before[name])
        for name, tensor in network.state_dict().items()
    )


def fit(network, images, stage, steps):
    job = iter_fit(
        network, images, (), FAST, Budget(steps=steps), make_fabric("cpu"),
        nominal_px=12.0, stage=stage,
    )  # fmt: skip
    drain(job)


@pytest.mark.parametrize("labels", ["dots", "counts"])
def test_it_learns_the_mask_and_then_the_count(prepared_images, labels):
    images = prepared_images(counts=[2, 12, 5, 16, 8, 10, 3, 14], labels=labels)
    network = new_network(hidden=(64,))
    fit(network, images, MASK, 60)
    values = torch.stack([image.values.float() for image in images]).expand(-1, 3, -1, -1)
    truth = torch.stack([image.mask.float() for image in images])
    with torch.no_grad():
        mask, truth = network.pyramid.mask(network._resized(values)), network._resized(truth)
    truth = functional.avg_pool2d(truth, 2)
    assert np.corrcoef(mask.flatten(), truth.flatten())[0, 1] > 0.7
    before = copy.deepcopy(network.pyramid.state_dict())
    fit(network, images, COUNTER, 160)
    assert all(torch.equal(t, before[n]) for n, t in network.pyramid.state_dict().items())
    with torch.no_grad():
        counts = network(values).density.sum(dim=(1, 2, 3)).numpy()
    truths = np.array([image.count for image in images])
    assert np.abs(counts - truths).mean() < 0.5 * np.abs(truths - truths.mean()).mean()


def test_a_whole_training_from_counts_alone(dataset_folder, tmp_path, draw_cells):
    data = dataset_folder("counted", [4, 8, 6, 10, 5, 7, 2, 9], labels="counts")
    steps = []
    job = iter_train(
        [data], network="fpn_counter", out=tmp_path / "model", steps=12, device="cpu",
        network_config=TINY, fit=FitConfig(count_batch=2, validate_every=4),
    )  # fmt: skip
    model = drain(job, steps.append)
    assert sum("loss" in step.values for step in steps) == 12  # 3 of the mask, 9 of the counter
    assert sum("val_error" in step.values for step in steps) == 3
    assert model.calibration is not None
    assert model.record.halo is None
    pixels = draw_cells(np.array([[20, 20], [40, 50]]), (65, 75))
    prediction = predict(model, pixels, diameter_px=12.0, device="cpu")
    assert prediction.density.shape == (1, 17, 19)
    assert prediction.count >= 0
    assert (prediction.variance > 0).all()


# ---- settings -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"aleatoric": "l1"}, "no aleatoric loss 'l1'; choose one of: paper, code, gaussian"),
        ({"image_height": 7}, "must be 8 px or more"),
        ({"image_width": 48, "vgg": (4, 0, 0, 0, 0, 0)}, "must be 64 px or more"),
    ],
)
def test_settings_that_make_no_network(settings, words):
    with pytest.raises(UserError, match=words):
        new_network(**settings)


def test_a_pyramid_as_in_the_authors_code():
    """One channel on the way down, convolved before the first halving alone."""
    down = new_network(down_filters=(1, 0, 0)).pyramid.down
    assert [sum(p.numel() for p in level.parameters()) for level in down] == [27 + 2, 0, 0]
    assert FPNCounterConfig().aleatoric == "paper"


def test_a_width_narrows_all_layers_but_the_empty_ones():
    numbers = {**TINY, "down_filters": (8, 0), "width": 0.5}
    half = build("fpn_counter", numbers)
    narrow = {name: p.shape for name, p in half.named_parameters()}
    full = {
        name: p.shape
        for name, p in build("fpn_counter", {**numbers, "width": 1.0}).named_parameters()
    }
    assert narrow.keys() == full.keys()
    assert narrow["pyramid.across.0.0.weight"][0] * 2 == full["pyramid.across.0.0.weight"][0]
    assert narrow["counter.count.0.weight"][0] * 2 == full["counter.count.0.weight"][0]
    with pytest.raises(UserError, match="leaves no channels"):
        build("fpn_counter", {**numbers, "width": 0.0})


def test_batch_norms_have_the_statistics_of_the_averaged_weights(prepared_images):
    images = prepared_images(counts=[2, 12, 5, 16, 8, 10, 3, 14], labels="counts")
    network = new_network()
    fit(network, images, MASK, 30)
    seen = []
    first = network.pyramid.down[0]
    hook = first[0].register_forward_hook(lambda *told: seen.append(told[2]))
    with torch.no_grad():
        for image in images:
            network.pyramid.mask(network._resized(image.values.float().expand(1, 3, -1, -1)))
    hook.remove()
    found = torch.cat(seen).mean(dim=(0, 2, 3))
    spread = torch.cat(seen).std(dim=(0, 2, 3))
    assert first[1].num_batches_tracked == NORM_BATCHES
    assert ((first[1].running_mean - found).abs() < 0.1 * spread).all()
    assert first[1].momentum == 0.1
    frozen = first[1].running_mean.clone()
    fit(network, images, COUNTER, 5)
    assert torch.equal(first[1].running_mean, frozen)
    assert network.counter.vgg[0][1].num_batches_tracked == NORM_BATCHES
