import math

import pytest
import torch
from torch import nn

from celltally.learn.fit import Budget, FitConfig, iter_fit, make_fabric
from celltally.learn.gallery import iter_gallery
from celltally.learn.push import iter_project
from celltally.learn.refit import iter_refit
from celltally.networks import HasPrototypes, HasStages, HasVariance, Target, build, losses
from celltally.networks.countxplain import extremes_loss
from celltally.progress import drain
from celltally.scale import MARGIN, pad_with_margin

CPU = torch.device("cpu")
TINY = {"width": 1 / 16, "depth": 8}
WHERE = {"nominal_px": 12.0, "device": CPU}


@pytest.fixture(autouse=True)
def _float32(monkeypatch):
    for module in ("devices", "learn.fit"):
        monkeypatch.setattr(f"celltally.{module}.cpu_is_good_at_bfloat16", lambda: False)


def make(**config):
    """Features that differ from place to place, as those of a trained CSRNet do."""
    torch.manual_seed(0)
    network = build("countxplain", TINY | config)
    for layer in network.layers.back:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.normal_(network.project.weight)
    return network


@pytest.fixture
def network():
    return make()


def whole_features(network, image):
    values = pad_with_margin(image.values.float().expand(3, -1, -1)[None], network.multiple)
    first = MARGIN // network.stride
    rows, columns = (-(-side // network.stride) for side in image.values.shape[1:])
    with torch.no_grad():
        return network.features(values)[..., first : first + rows, first : first + columns]


def density_of(network, image):
    with torch.no_grad():
        similarities = network.similarities(network.distances(whole_features(network, image)))
        return network.head.density(similarities)[0, 0]


def test_what_it_can_do(network):
    assert isinstance(network, HasPrototypes)
    assert isinstance(network, HasVariance)
    assert isinstance(network, HasStages)
    assert network.supervision == {"dots"}
    counter, prototypes = network.stages
    assert (counter.name, counter.judged) == ("counter", False)
    assert (prototypes.name, prototypes.judged) == ("prototypes", True)
    assert counter.share + prototypes.share == pytest.approx(1.0)
    assert {counter.supervision, prototypes.supervision} == {"dots"}
    assert (network.stride, network.multiple, network.halo) == (8, 8, 144)


def test_the_numbers_are_those_of_the_paper():
    with torch.device("meta"):
        network = build("countxplain")
    assert network.prototypes.shape == (6, 64)
    assert network.prototype_kinds == ("cell",) * 3 + ("background",) * 3
    assert (network.project.in_channels, network.project.out_channels) == (64, 64)
    assert network.contributing == (True,) * 6


def test_features_lie_behind_a_sigmoid(network):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = network.features(torch.rand(1, 3, 32, 32))
    assert features.shape == (1, 8, 4, 4)
    assert features.dtype == torch.float32
    assert (features > 0).all()
    assert (features < 1).all()


def test_distances_are_sums_over_the_depth(network):
    features = torch.rand(2, 8, 3, 5)
    difference = features[:, None] - network.prototypes[None, :, :, None, None]
    assert torch.allclose(network.distances(features), difference.square().sum(dim=2), atol=1e-6)


def test_a_prototype_is_exactly_like_the_feature_that_it_was_put_onto(network):
    features = torch.rand(1, 8, 3, 5)
    prototypes = network.prototypes.detach().clone()
    prototypes[4] = features[0, :, 1, 2]
    network.set_prototypes(prototypes)
    distances = network.distances(features).detach()
    assert distances[0, 4, 1, 2] == 0
    assert network.similarities(distances)[0, 4, 1, 2].item() == pytest.approx(math.log(1e4))


def test_similarity_is_that_of_the_paper(network):
    distances = torch.linspace(0, 8, 20).reshape(1, 1, 4, 5)
    expected = ((distances + 1) / (distances + 1e-4)).log()
    assert torch.allclose(network.similarities(distances), expected, atol=1e-4)


def test_distances_come_while_it_is_trained(network):
    images = torch.rand(1, 3, 16, 16)
    assert network.train()(images).distances.shape == (1, 6, 2, 2)
    assert network.eval()(images).distances is None


def test_contribution_weights_are_set(network):
    weight, bias = torch.randn(1, 6), torch.randn(1)
    network.set_contribution_weights(weight, bias)
    for ours, given in zip(network.contribution_weights, (weight, bias), strict=True):
        assert torch.equal(ours, given)


def test_as_in_the_authors_code_cell_prototypes_alone_make_the_density():
    network = make(cell_only=True)
    images = torch.rand(1, 3, 32, 32)
    network.set_contribution_weights(torch.ones(1, 6), torch.zeros(1))
    before = network(images).density
    weight, _ = network.contribution_weights
    assert weight.tolist() == [[1, 1, 1, 0, 0, 0]]
    assert network.contributing == (True,) * 3 + (False,) * 3
    with torch.no_grad():
        network.head.vectors[3:] += 0.3
    assert torch.equal(network(images).density, before)
    with torch.no_grad():
        network.head.vectors[:3] += 0.3
    assert not torch.equal(network(images).density, before)


def test_extremes_by_hand():
    """Image 0 has its density in one place; image 1 has none, and ties no cell prototype."""
    density = torch.zeros(2, 1, 2, 2)
    density[0, 0] = torch.tensor([[0.5, 0.2], [0.0, 0.0]])
    distances = torch.arange(16.0).reshape(2, 2, 2, 2).requires_grad_()
    # Cell: image 0's first place, 0. Background: means of (6, 7) and of (12 … 15).
    loss = extremes_loss(distances, density, 1)
    assert loss.item() == pytest.approx(0 + (6.5 + 13.5) / 2)
    loss.backward()
    assert distances.grad[0, 0].tolist() == [[1, 0], [0, 0]]
    assert distances.grad[0, 1].tolist() == [[0, 0], [0.25, 0.25]]
    assert not distances.grad[1, 0].any()


def test_extremes_are_summed_over_prototypes_and_averaged_over_images():
    density = torch.zeros(3, 1, 2, 2)
    density[..., 0, 0] = 1.0
    assert extremes_loss(torch.ones(3, 4, 2, 2), density, 2).item() == pytest.approx(4.0)


@pytest.mark.parametrize("density", [torch.zeros(2, 1, 2, 2), torch.full((2, 1, 2, 2), 0.1)])
def test_extremes_where_density_is_the_same_everywhere(density):
    distances = torch.full((2, 2, 2, 2), 3.0)
    expected = 6.0 if density.any() else 3.0
    assert extremes_loss(distances, density, 1).item() == pytest.approx(expected)


def test_the_loss_of_the_counter_is_that_of_its_own_density(network):
    images, density = torch.rand(2, 3, 32, 32), torch.rand(2, 1, 4, 4)
    target = Target(density.sum(dim=(1, 2, 3)), density)
    loss = network.stage_loss(network.stages[0], images, None, target)
    own = network.counter(network.layers(images))
    assert torch.allclose(loss, 100 * (own - density).square().mean(), rtol=1e-5)


def test_the_loss_of_the_prototypes_has_three_weighted_parts():
    images, density = torch.rand(2, 3, 32, 32), torch.rand(2, 1, 4, 4)
    target = Target(density.sum(dim=(1, 2, 3)), density)
    weights = {"density_weight": 0.0, "prototype_weight": 0.0, "diversity_weight": 0.0}
    networks = {name: make(**weights | {name: 3.0}) for name in weights}
    found = {
        name: net.train().stage_loss(net.stages[1], images, None, target).item()
        for name, net in networks.items()
    }
    output = make().train()(images)
    expected = {
        "density_weight": (output.density - density).square().mean(),
        "prototype_weight": extremes_loss(output.distances, density, 3),
        "diversity_weight": losses.diversity_loss(make().prototypes, 3, 0.0),
    }
    assert found == pytest.approx({name: 3 * v.item() for name, v in expected.items()}, rel=1e-4)
    apart = make(**weights | {"diversity_weight": 1.0, "tolerance": 1.0})
    assert apart.stage_loss(apart.stages[1], images, None, target) == 0


def test_one_prototype_of_each_kind():
    network = make(prototypes=2)
    density = torch.rand(1, 1, 2, 2)
    target = Target(density.sum(dim=(1, 2, 3)), density)
    loss = network.stage_loss(network.stages[1], torch.rand(1, 3, 16, 16), None, target)
    assert loss.isfinite()


def test_each_part_trains_its_own_parameters(network, prepared_images):
    images = prepared_images(counts=[4, 6])
    config = FitConfig(crop=32, batch=1, augmentation=None)
    changed = []
    for stage in network.stages:
        before = {name: p.detach().clone() for name, p in network.named_parameters()}
        fit = iter_fit(
            network, images, (), config, Budget(steps=2), make_fabric("cpu"),
            nominal_px=12.0, stage=stage,
        )  # fmt: skip
        drain(fit)
        changed.append(
            {n.partition(".")[0] for n, p in network.named_parameters() if (p != before[n]).any()}
        )
    assert changed == [{"layers", "counter"}, {"project", "head"}]


def test_prototypes_are_projected_at_a_stride_of_8(network, prepared_images):
    images = prepared_images(counts=[4, 6])
    places = drain(iter_project(network, images, **WHERE)).places
    assert len({place.place for place in places}) == 6
    for k, place in enumerate(places):
        y, x = place.cell
        feature = whole_features(network, place.image)[0, :, y, x]
        assert torch.allclose(network.prototypes[k], feature, atol=1e-6)
        holds = ((place.image.yx + 0.5) // 8 == place.cell).all(axis=1).any()
        assert holds == (network.prototype_kinds[k] == "cell")


@pytest.mark.parametrize("cell_only", [False, True])
def test_the_last_layer_is_refitted_among_what_contributes(cell_only, prepared_images):
    network = make(cell_only=cell_only)
    images = prepared_images(counts=[4, 8, 6])
    drain(iter_project(network, images, **WHERE))

    def error():
        return sum(abs(float(density_of(network, i).sum()) - i.count) for i in images)

    before = error()
    drain(iter_refit(network, images, **WHERE))
    assert error() < 0.5 * before
    weight, _ = network.contribution_weights
    assert (weight != 0).tolist() == [list(network.contributing)]


def test_the_gallery_shows_the_places_of_the_prototypes(network, prepared_images):
    images = prepared_images(counts=[4, 6, 5])
    places = drain(iter_project(network, images, **WHERE)).places
    gallery = drain(iter_gallery(network, images, cc0=frozenset({"blobs"}), **WHERE))
    for place, record in zip(places, gallery.prototypes, strict=True):
        patch = record.patches[0]
        assert patch.image == place.image.sample.image.name
        assert patch.similarity == pytest.approx(math.log(1e4), abs=0.01)
        y, x = place.image.grid(8).to_cells([patch.y, patch.x])[0].astype(int)
        assert (y, x) == place.cell
