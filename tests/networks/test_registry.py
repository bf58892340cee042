import pytest
from torch import nn

from celltally.errors import UserError
from celltally.networks import CountingNetwork, build, config_of, names, register, registry
from celltally.networks.tally import Tally, TallyConfig


@pytest.fixture
def families(monkeypatch):
    """A registry that forgets what a test registers."""
    build("tally", {"widths": (8,), "encoder_blocks": (1,), "decoder_blocks": ()})
    copy = dict(registry._families)
    monkeypatch.setattr(registry, "_families", copy)
    return copy


def test_names_are_sorted_and_hold_the_default():
    assert names() == sorted(names())
    assert "tally" in names()


def test_a_second_registration_under_one_name_is_an_error(families):
    class Other(Tally):
        pass

    with pytest.raises(ValueError, match=r"'tally' is taken by celltally\.networks\.tally\.Tally"):
        register("tally")(Other)
    assert families["tally"] is Tally


def test_a_class_of_the_same_name_elsewhere_is_another_one(families):
    impostor = type("Tally", (Tally,), {"__module__": "elsewhere", "__qualname__": "Tally"})
    with pytest.raises(ValueError, match="taken"):
        register("tally")(impostor)


def test_registering_the_same_class_again_is_fine(families):
    assert register("tally")(Tally) is Tally


def test_a_new_family_can_be_built(families):
    class Mine(Tally):
        pass

    register("mine")(Mine)
    assert "mine" in names()
    assert type(build("mine", {"widths": [8], "encoder_blocks": [1], "decoder_blocks": []})) is Mine


def test_an_unknown_name_lists_the_valid_ones():
    with pytest.raises(UserError, match=r"no network 'talli'.*tally"):
        build("talli")


def test_an_unknown_setting_lists_the_valid_ones():
    with pytest.raises(UserError, match=r"no setting 'width'.*widths, .*prototypes"):
        build("tally", {"width": 3})


@pytest.mark.parametrize(
    "config",
    [
        {"prototypes": 3},
        {"widths": "wide"},
        {"widths": 8},
        {"widths": ()},
        {"depth": -1},
        {"encoder_blocks": (1,)},
        {"decoder_blocks": (1, 1, 1, 1)},
        {"decoder_blocks": (1,)},
    ],
    ids=str,
)
def test_settings_that_fit_no_network_are_one_sentence(config):
    with pytest.raises(UserError, match=r"make no network 'tally'|the network 'tally' cannot have"):
        build("tally", config)


def test_lists_become_tuples_and_the_config_comes_back():
    config = {"widths": [8, 16], "encoder_blocks": [1, 1], "decoder_blocks": [1]}
    network = build("tally", config)
    assert network.config == TallyConfig(widths=(8, 16), encoder_blocks=(1, 1), decoder_blocks=(1,))
    assert registry.name_of(network) == "tally"
    assert build("tally", config_of(network)).config == network.config


def test_an_unregistered_class_has_no_name():
    class Loose(CountingNetwork):
        def forward(self, images, context=None):
            return nn.Identity()(images)

    with pytest.raises(ValueError, match="Loose is not registered"):
        registry.name_of(Loose())
