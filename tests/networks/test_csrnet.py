from itertools import pairwise
from urllib.error import URLError

import pytest
import torch
from torch import nn

from celltally.errors import UserError
from celltally.networks import HasPrototypes, HasStages, HasVariance, Target, build, csrnet

TINY = {"width": 1 / 16}
CHANNELS = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512, 256, 128, 64)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build("csrnet", TINY)


@pytest.fixture
def narrow(monkeypatch):
    """A network of width 1 that is small all the same."""
    monkeypatch.setattr(csrnet, "FRONT", ((2, 2), (2, 2), (3, 3, 3), (4, 4, 4)))
    monkeypatch.setattr(csrnet, "BACK", (4, 2))


def convolutions(network):
    return [m for m in network.layers.modules() if isinstance(m, nn.Conv2d)]


def test_the_layers_are_those_of_the_paper():
    with torch.device("meta"):
        network = build("csrnet")
    layers = convolutions(network)
    assert [(c.in_channels, c.out_channels) for c in layers] == [*pairwise(CHANNELS)]
    assert [c.dilation[0] for c in layers] == [1] * 10 + [2] * 6
    assert sum(isinstance(m, nn.MaxPool2d) for m in network.layers.modules()) == 3
    assert (network.head.in_channels, network.head.kernel_size) == (64, (1, 1))
    assert (network.stride, network.multiple) == (8, 8)


def test_the_front_end_has_the_names_and_shapes_of_vgg_16():
    from torchvision.models import vgg16

    with torch.device("meta"):
        ours = build("csrnet").layers.front
        theirs = vgg16(weights=None).features[: len(ours)]
    assert [type(m) for m in ours] == [type(m) for m in theirs]
    shapes = {name: t.shape for name, t in theirs.state_dict().items()}
    assert {name: t.shape for name, t in ours.state_dict().items()} == shapes


def test_the_halo_is_what_the_layers_reach():
    with torch.device("meta"):
        # 2 + 2·2 + 3·4 + 3·8 in the front end, 6·2·8 in the back end, together 138.
        assert build("csrnet", TINY).halo == 144


def test_width_is_a_factor_on_all_channels(network):
    assert [c.out_channels for c in convolutions(network)] == [c // 16 for c in CHANNELS[1:]]
    assert build("csrnet", {"width": 0.001}).layers.depth == 1


@pytest.mark.parametrize("width", [0, -1, float("nan")])
def test_widths_that_leave_nothing(width):
    with pytest.raises(UserError, match=r"leaves no channels|cannot have nan"):
        build("csrnet", {"width": width})


def test_what_it_can_do(network):
    assert isinstance(network, HasVariance)
    assert isinstance(network, HasStages)
    assert not isinstance(network, HasPrototypes)
    assert network.supervision == {"dots"}
    (stage,) = network.stages
    assert (stage.supervision, stage.share, stage.whole, stage.judged) == ("dots", 1.0, False, True)
    trained = {*map(id, network.stage_parameters(stage))}
    assert trained == {
        id(p) for name, p in network.named_parameters() if not name.startswith("variance")
    }


def test_images_are_normalised_as_imagenets_are(network):
    colour = torch.tensor([0.485, 0.456, 0.406])[:, None, None].expand(1, 3, 16, 16)
    assert not network.layers(colour).any()  # all biases are zero
    for channel, deviation in enumerate((0.229, 0.224, 0.225)):
        shifted = colour.clone()
        shifted[:, channel] += deviation
        seen = []
        network.layers.front[0].register_forward_pre_hook(lambda _, args, s=seen: s.append(args[0]))
        network.layers(shifted)
        expected = torch.zeros(1, 3, 16, 16)
        expected[:, channel] = 1.0
        assert torch.allclose(seen[0], expected, atol=1e-6)


def test_the_loss_is_the_weighted_mean_squared_error():
    network = build("csrnet", TINY | {"density_weight": 10.0})
    nn.init.zeros_(network.head.weight)
    nn.init.constant_(network.head.bias, 0.5)
    density = torch.full((2, 1, 4, 4), 0.3)
    target = Target(density.sum(dim=(1, 2, 3)), density)
    loss = network.stage_loss(network.stages[0], torch.rand(2, 3, 32, 32), None, target)
    assert loss.item() == pytest.approx(10 * 0.2**2, rel=1e-5)


def test_counts_alone_teach_nothing(network):
    with pytest.raises(ValueError, match="only counts are known"):
        network.stage_loss(network.stages[0], torch.rand(1, 3, 16, 16), None, Target(torch.ones(1)))


def test_narrow_networks_start_with_signals_as_large(monkeypatch):
    monkeypatch.setattr(csrnet, "BACK", (512, 512))
    images = torch.rand(1, 3, 32, 32)
    sizes = []
    for width in (1 / 4, 1 / 32):
        torch.manual_seed(0)
        layers = csrnet.CSRNetLayers(width)
        with torch.no_grad():
            before = layers.front(layers.colours(images))
            sizes.append(float(layers.back(before).square().mean() / before.square().mean()))
    assert sizes[0] == pytest.approx(sizes[1], rel=1.0)


def test_imagenet_weights_are_taken_over(narrow, monkeypatch):
    from torchvision.models.vgg import cfgs, make_layers

    torch.manual_seed(0)
    small = {64: 2, 128: 2, 256: 3, 512: 4, "M": "M"}
    vgg = nn.ModuleDict({"features": make_layers([small[c] for c in cfgs["D"]])})
    asked = []

    def fetch(url, **options):
        asked.append((url, options["weights_only"], options["check_hash"]))
        return dict(vgg.state_dict())

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fetch)
    network = build("csrnet", {"pretrained": True})
    theirs = vgg["features"][: len(network.layers.front)].state_dict()
    ours = network.layers.front.state_dict()
    assert {*ours} == {*theirs}
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert [("vgg16" in url, *rest) for url, *rest in asked] == [(True, True, True)]
    assert not network.config.pretrained  # so that it is built again without them
    build("csrnet")
    assert len(asked) == 1


@pytest.mark.parametrize("error", [URLError("no route to host"), RuntimeError("invalid hash")])
def test_imagenet_weights_that_cannot_be_fetched(narrow, monkeypatch, error):
    def fetch(url, **options):
        raise error

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fetch)
    with pytest.raises(UserError, match=r"cannot be fetched .*(route|hash).*without 'pretrained'"):
        build("csrnet", {"pretrained": True})


def test_imagenet_weights_have_one_width():
    with pytest.raises(UserError, match=r"the width 1 only, not 0\.5"):
        build("csrnet", {"pretrained": True, "width": 0.5})
