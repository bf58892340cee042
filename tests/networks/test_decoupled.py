from urllib.error import URLError

import pytest
import torch
from torch.nn import functional
from torchvision.models import vgg19, vgg19_bn

from celltally.errors import UserError
from celltally.networks import HasStages, HasVariance, Target, build, config_of
from celltally.networks.decoupled import (
    COUNTER,
    LOCALISER,
    Decoupled,
    DecoupledConfig,
    MessagePassing,
    _spread,
)

TINY = {"width": 1 / 32}


def make(**config) -> Decoupled:
    torch.manual_seed(0)
    return build("decoupled", TINY | config).eval()


@pytest.fixture
def network() -> Decoupled:
    """A network whose localiser finds something."""
    network = make()
    torch.nn.init.normal_(network.localiser.last.weight, std=0.1)
    return network


def test_what_it_can_do(network):
    assert isinstance(network, HasVariance)
    assert isinstance(network, HasStages)
    assert network.supervision == {"dots", "counts"}
    assert (network.stride, network.multiple, network.halo) == (2, 16, None)


# ---- counter ----------------------------------------------------------------


@pytest.mark.parametrize(("batch_norm", "theirs"), [(False, vgg19), (True, vgg19_bn)])
def test_the_backbone_is_a_vgg19_without_its_last_pool(batch_norm, theirs):
    with torch.device("meta"):
        ours = Decoupled(DecoupledConfig(batch_norm=batch_norm)).counter.backbone
        features = theirs(weights=None).features
    assert [type(layer) for layer in ours] == [type(layer) for layer in features][:-1]
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in features.state_dict().items()
    }


def test_a_message_is_averaged_with_what_a_place_has():
    """Where the shift is one column to the right and half a row down, for every place."""
    messages = MessagePassing(2)
    torch.nn.init.zeros_(messages.shift.weight)
    messages.shift.bias.data = torch.tensor([1.0, 0.5])
    x = torch.rand(1, 2, 4, 5)
    below = torch.cat([x[:, :, 1:], x[:, :, -1:]], dim=2)  # the last row has none below
    between = 0.5 * (x + below)
    right = torch.cat([between[..., 1:], between[..., -1:]], dim=3)
    assert torch.allclose(messages(x), 0.5 * (x + right), atol=1e-5)


def test_the_shift_is_read_from_the_features_of_the_place():
    messages = MessagePassing(1)
    messages.shift.weight.data = torch.tensor([3.0, 0.0])[:, None, None, None]
    x = torch.zeros(1, 1, 1, 5)
    x[..., 0] = 1.0  # it alone asks, and its message comes from the fourth column
    x[..., 3] = 7.0  # which asks 21 columns away: what lies at the border
    x[..., 4] = 0.0
    assert torch.allclose(messages(x).flatten(), torch.tensor([4.0, 0.0, 0.0, 3.5, 0.0]), atol=1e-5)


def test_messages_start_with_none():
    x = torch.rand(2, 3, 4, 5)
    assert torch.allclose(MessagePassing(3)(x), x, atol=1e-5)


def test_a_message_may_come_from_afar(network):
    images = torch.rand(1, 3, 16, 512)
    changed = images.clone()
    changed[..., -1] += 1.0
    before, after = network.counter(images), network.counter(changed)
    assert torch.equal(before[..., :24], after[..., :24])
    network.counter.messages.shift.bias.data[0] = 1e3  # of the column: to the right border
    before, after = network.counter(images), network.counter(changed)
    assert not torch.equal(before[..., :24], after[..., :24])


@pytest.mark.parametrize("shape", [(1, 1), (37, 53), (64, 41)])
def test_the_density_adds_up_to_the_coarse_map(network, shape):
    images = torch.rand(2, 3, *shape)
    coarse, output = network.counter(images), network(images)
    assert coarse.shape[2:] == tuple(-(-side // 8) for side in shape)
    assert output.density.shape[2:] == tuple(-(-side // 2) for side in shape)
    assert (coarse >= 0).all()
    sums = [m.sum(dim=(1, 2, 3)) for m in (coarse, output.density)]
    torch.testing.assert_close(*sums)
    assert (sums[0] > 0).all()


def test_what_is_only_padded_is_not_counted():
    network = make(message_passing=False)
    images = torch.rand(1, 3, 37, 53)
    padded = functional.pad(images, (0, 11, 0, 11))
    assert torch.equal(network.counter(images), network.counter(padded)[..., :5, :7])
    assert network.counter(padded)[..., 5:, :].sum() > 0


# ---- the map is scaled to the count -----------------------------------------


def test_an_untrained_localiser_shows_the_coarse_map():
    network, images = make(), torch.rand(2, 3, 37, 53)
    coarse, density = network.counter(images), network(images).density
    sums = functional.avg_pool2d(density, 4, ceil_mode=True, divisor_override=1)
    torch.testing.assert_close(sums, coarse)
    assert torch.equal(density[..., :4, :4], density[..., :1, :1].expand(-1, -1, 4, 4))


@pytest.mark.parametrize("found", [0.5, 0.6, 1.0, 30.0])
def test_the_map_is_scaled_to_the_count(found):
    """Where at least half of the count was found."""
    coarse = torch.zeros(1, 1, 2, 2)
    coarse[..., 0, 0] = 3.0
    located = torch.zeros(1, 1, 8, 8)
    located[..., 7, 7], located[..., 0, 7] = 2.0 * found, found
    density = _spread(coarse, located)
    torch.testing.assert_close(density, located / found)


def test_what_was_hardly_found_stays_where_the_coarse_map_has_it():
    coarse = torch.zeros(2, 1, 2, 2)
    coarse[..., 0, 0] = 3.0
    located = torch.zeros(2, 1, 7, 7)
    located[0, ..., 6, 6] = 0.5
    density = _spread(coarse, located)
    torch.testing.assert_close(density.sum(dim=(1, 2, 3)), torch.tensor([3.0, 3.0]))
    assert density[0, 0, 6, 6] == 1.0
    torch.testing.assert_close(density[:, 0, 0, 0], torch.tensor([2.0, 3.0]) / 16)


def test_negative_values_are_not_found_and_no_count_is_no_density():
    coarse, located = torch.ones(1, 1, 1, 1), torch.full((1, 1, 4, 4), -1.0)
    located[..., 1, 2] = 5.0
    density = _spread(coarse, located)
    assert (density >= 0).all()
    torch.testing.assert_close(density[0, 0, 1, 2], torch.tensor(1.0))
    assert torch.equal(_spread(torch.zeros(1, 1, 1, 1), located), torch.zeros(1, 1, 4, 4))


# ---- stages -----------------------------------------------------------------


@pytest.mark.parametrize(("width", "rate"), [(0.05, 1.0), (0.25, 1.0), (0.5, 0.5)])
def test_wide_networks_learn_slower(width, rate):
    stages = Decoupled(DecoupledConfig(width=width)).stages
    assert [stage.rate for stage in stages] == [rate, rate]


def test_the_stages(network):
    assert network.stages == (COUNTER, LOCALISER)
    assert sum(stage.share for stage in network.stages) == 1
    assert (COUNTER.supervision, LOCALISER.supervision) == ("counts", "dots")
    # Its loss is no part of the count: the first weights would be the best ones.
    assert not LOCALISER.judged
    parts = [*map(network.stage_parameters, network.stages), network.variance_parameters()]
    ids = [{id(p) for p in part} for part in parts]
    assert sum(map(len, ids)) == len(set().union(*ids)) == len(list(network.parameters()))


def test_the_counters_loss_is_the_absolute_error_of_the_count(network):
    images = torch.rand(2, 3, 32, 32)
    counts = network.counter(images).sum(dim=(1, 2, 3)).detach()
    target = Target(counts + torch.tensor([3.0, -1.0]))
    torch.testing.assert_close(
        network.stage_loss(COUNTER, images, None, target), torch.tensor(2.0), rtol=1e-4, atol=1e-5
    )


def test_the_counter_is_not_asked_for_what_lies_in_the_padding(network):
    images, inside = torch.rand(1, 3, 32, 48), torch.zeros(1, 1, 16, 24)
    inside[..., 4:9, 8:16] = 1.0  # a row of pixels reaches into a third row of coarse cells
    count = network.counter(images)[..., 1:3, 2:4].sum().detach()
    loss = network.stage_loss(COUNTER, images, None, Target(count[None], inside=inside))
    torch.testing.assert_close(loss, torch.tensor(0.0), rtol=0, atol=1e-5)


def test_the_localisers_loss_is_the_squared_error_of_its_own_map(network):
    images = torch.rand(2, 3, 32, 32)
    found, _ = network.localiser(images, network.counter(images))
    target = Target(torch.zeros(2), found.detach() + 0.5)
    loss = network.stage_loss(LOCALISER, images, None, target)
    torch.testing.assert_close(loss, torch.tensor(0.25))
    with pytest.raises(ValueError, match="needs a density"):
        network.stage_loss(LOCALISER, images, None, Target(torch.zeros(2)))


@pytest.mark.parametrize("stage", [COUNTER, LOCALISER], ids=lambda stage: stage.name)
def test_a_stage_teaches_its_own_part_alone(network, stage):
    target = Target(torch.zeros(1), torch.zeros(1, 1, 16, 16))
    network.stage_loss(stage, torch.rand(1, 3, 32, 32), None, target).backward()
    own = {id(p) for p in network.stage_parameters(stage)}
    for name, parameter in network.named_parameters():
        assert (id(parameter) in own) or parameter.grad is None, name


def test_the_localiser_is_shown_image_and_coarse_map(network):
    images, coarse = torch.rand(1, 3, 32, 32), torch.rand(1, 1, 4, 4)
    before, _ = network.localiser(images, coarse)
    assert not torch.equal(network.localiser(images + 0.1, coarse)[0], before)
    assert not torch.equal(network.localiser(images, coarse + 0.1)[0], before)


def test_a_frozen_counter_keeps_its_batch_norms_statistics():
    network, images = make(batch_norm=True), torch.rand(2, 3, 32, 32)
    before = network.counter(images)
    for parameter in network.stage_parameters(COUNTER):
        parameter.requires_grad_(False)
    network.train()(images)
    assert torch.equal(network.eval().counter(images), before)
    for parameter in network.stage_parameters(COUNTER):
        parameter.requires_grad_(True)
    network.train()(images)
    assert not torch.equal(network.eval().counter(images), before)


# ---- settings ---------------------------------------------------------------


def test_the_authors_head():
    network = make(message_passing=False, head_widths=(256, 128))
    assert [
        m.weight.shape[:2] for m in network.counter.hidden.modules() if hasattr(m, "weight")
    ] == [
        (8, 16),
        (4, 8),
    ]
    assert not any(isinstance(m, MessagePassing) for m in network.modules())


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_pretrained_network_is_built_again_without_a_download(monkeypatch, batch_norm):
    asked = []

    def state(weights, **options):
        asked.append(weights.name)
        return (vgg19_bn if batch_norm else vgg19)(weights=None).state_dict()

    monkeypatch.setattr("torchvision.models.WeightsEnum.get_state_dict", state)
    with torch.device("meta"):
        network = Decoupled(DecoupledConfig(pretrained=True, batch_norm=batch_norm))
    assert asked == ["IMAGENET1K_V1"]
    assert config_of(network) == config_of(make(batch_norm=batch_norm)) | {"width": 1.0}


def test_pretrained_weights_that_cannot_be_had(monkeypatch):
    def fail(weights, **options):
        raise URLError("no route")

    monkeypatch.setattr("torchvision.models.WeightsEnum.get_state_dict", fail)
    with torch.device("meta"), pytest.raises(UserError, match=r"cannot be fetched .* 'pretrained'"):
        build("decoupled", {"pretrained": True})
    with pytest.raises(UserError, match=r"have the width 1, not 0.03125"):
        build("decoupled", TINY | {"pretrained": True})
