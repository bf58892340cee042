import pytest
import torch

from celltally.errors import UserError
from celltally.networks import CountingNetwork, HasPrototypes, HasVariance, build
from celltally.networks.tally import STRIP, Tally


@pytest.fixture
def network(tiny_config) -> Tally:
    torch.manual_seed(0)
    return build("tally", tiny_config)


def test_the_default_is_small():
    assert sum(p.numel() for p in build("tally").parameters()) < 3_000_000


def test_what_it_can_do(network):
    assert isinstance(network, HasPrototypes)
    assert isinstance(network, HasVariance)
    assert network.supervision == {"dots", "counts"}
    assert network.stride == 2


def test_a_plain_head_has_no_prototypes(tiny_config):
    del tiny_config["prototypes"]
    plain = build("tally_plain", tiny_config)
    assert not isinstance(plain, HasPrototypes)
    assert isinstance(plain, HasVariance)
    offered = set(HasPrototypes.__abstractmethods__) - set(CountingNetwork.__abstractmethods__)
    assert [name for name in offered if hasattr(type(plain), name)] == ["features"]
    assert plain.train()(torch.rand(1, 3, 16, 16)).distances is None


def test_a_plain_head_knows_no_setting_of_prototypes(tiny_config):
    for setting in ("prototypes", "epsilon"):
        with pytest.raises(UserError, match=f"no setting '{setting}'"):
            build("tally_plain", {setting: 4})
    with pytest.raises(UserError, match="two groups of equal size"):
        build("tally", tiny_config | {"prototypes": 0})


def test_only_the_head_differs(tiny_config):
    """So that what the prototypes cost can be measured."""
    with_prototypes = build("tally", tiny_config).state_dict()
    del tiny_config["prototypes"]
    plain = build("tally_plain", tiny_config).state_dict()
    differing = {*with_prototypes} ^ {*plain}
    assert {name.partition(".")[0] for name in differing} == {"head"}


def test_the_names_of_the_weights_stay_as_they_are_stored(network):
    """Saved models are read by them."""
    own = [name for name in network.state_dict() if name.startswith(("head", "variance"))]
    assert own == [
        "head.vectors", "head.weight", "head.bias",
        "variance.0.weight", "variance.0.bias", "variance.2.weight", "variance.2.bias",
    ]  # fmt: skip


def test_distances_come_while_it_is_trained(network):
    output = network.train()(torch.rand(1, 3, 16, 16))
    assert output.distances.shape == (1, 4, 8, 8)


def test_context_changes_the_density_once_it_was_learned(network):
    images, context = torch.rand(1, 3, 16, 16), torch.ones(1, 4)
    network.eval()
    assert torch.equal(network(images, context).density, network(images).density)
    torch.nn.init.normal_(network.modulate[0].weight)
    assert not torch.allclose(network(images, context).density, network(images).density)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_strips_change_nothing(network, mode):
    """The head works strip by strip where nothing is learned, and in one piece else."""
    torch.nn.init.normal_(network.modulate[0].weight)
    images, context = torch.rand(2, 3, 4 * STRIP + 32, 32), torch.ones(2, 4)
    getattr(network, mode)()
    whole = network(images, context)
    with torch.no_grad():
        strips = network(images, context)
    assert whole.density.shape[2] > 2 * STRIP
    assert torch.allclose(strips.density, whole.density, atol=1e-7)
    assert torch.allclose(strips.log_variance, whole.log_variance, atol=1e-5)
    assert (strips.distances is None) == (whole.distances is None) == (mode == "eval")
    if mode == "train":
        assert torch.allclose(strips.distances, whole.distances, atol=1e-5)


def test_without_context_there_is_none(tiny_config):
    network = build("tally", tiny_config | {"context": 0})
    assert network.encode_context(torch.rand(1, 3, 64, 64)) is None


def test_prototypes_and_contribution_weights_are_set(network):
    vectors, weight, bias = torch.randn(4, 8), torch.randn(1, 4), torch.randn(1)
    network.set_prototypes(vectors)
    network.set_contribution_weights(weight, bias)
    assert torch.equal(network.prototypes, vectors)
    assert torch.allclose(network.contribution_weights[0], weight)
    assert torch.allclose(network.contribution_weights[1], bias)
    assert network.head.weight.requires_grad


def test_several_classes(tiny_config):
    network = build("tally", tiny_config | {"classes": 3})
    output = network(torch.rand(2, 3, 16, 16))
    assert output.density.shape == output.log_variance.shape == (2, 3, 8, 8)


def test_the_same_seed_builds_the_same_weights(tiny_config):
    def weights(seed):
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in build("tally", tiny_config).parameters()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))
