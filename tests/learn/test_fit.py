import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from celltally.errors import UserError
from celltally.learn.augment import AUGMENTATIONS
from celltally.learn.batches import CountBatches, DotBatches
from celltally.learn.fit import (
    Budget,
    FitConfig,
    all_but_variance,
    iter_fit,
    make_fabric,
    steps_between_validations,
    total_loss,
    variance_only,
)
from celltally.learn.mixing import MixedBatches
from celltally.networks import CountingNetwork, Output, Stage, build
from celltally.networks.losses import count_loss
from celltally.progress import drain
from celltally.types import Progress

FAST = FitConfig(crop=32, batch=2, count_batch=2, count_every=2, validate_every=4)


@pytest.fixture(scope="module")
def fabric():
    return make_fabric("cpu")


@pytest.fixture
def new_network(tiny_config):
    def make(**config):
        torch.manual_seed(0)
        return build("tally", tiny_config | config)

    return make


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def fit(network, train, fabric, *, val=(), steps=6, config=FAST, **options):
    torch.manual_seed(1)
    return iter_fit(
        network, train, val, config, Budget(steps=steps), fabric, nominal_px=12.0, **options
    )


# ---- budget -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({}, "either"),
        ({"steps": 5, "minutes": 1.0}, "either"),
        ({"steps": 0}, "at least 1"),
        ({"steps": -3}, "-3 training steps"),
        ({"minutes": 0.0}, "more than 0"),
        ({"minutes": float("nan")}, "more than 0"),
        ({"minutes": float("inf")}, "more than 0"),
    ],
)
def test_budgets_that_are_none(budget, words):
    with pytest.raises(UserError, match=words):
        Budget(**budget)


def test_budgets_are_shared_and_spent():
    steps = Budget(steps=100)
    assert steps.share(0.25) == Budget(steps=25)
    assert steps.share(1e-6) == Budget(steps=1)
    assert steps.spent(50, 1e9) == 0.5
    minutes = Budget(minutes=2.0)
    assert minutes.share(0.5) == Budget(minutes=1.0)
    assert minutes.spent(10**9, 60.0) == 0.5


# ---- the loop ---------------------------------------------------------------


def test_the_loss_falls(new_network, prepared_images, fabric):
    images = prepared_images(counts=[5, 8])
    config = replace(FAST, augmentation=None, batch=4, learning_rate=5e-3)
    seen = []
    drain(fit(new_network(), images, fabric, steps=40, config=config), seen.append)
    loss = [p.values["loss"] for p in seen]
    assert np.mean(loss[-5:]) < 0.7 * np.mean(loss[:5])
    assert [p.done for p in seen] == list(range(1, 41))
    assert {p.total for p in seen} == {40}


def test_the_same_seed_and_steps_give_the_same_weights(new_network, prepared_images, fabric):
    images = prepared_images(counts=[5, 8])
    results = []
    for seed in (0, 0, 1):
        network = new_network()
        assert drain(fit(network, images, fabric, config=replace(FAST, seed=seed))) == 6
        results.append(weights(network))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_validation_and_the_best_weights(new_network, prepared_images, fabric, monkeypatch):
    """The network ends with the averaged weights that had the smallest error."""
    images = prepared_images(counts=[5, 8])
    errors = iter([3.0, 1.0, 2.0])
    monkeypatch.setattr("celltally.learn.fit.overall_error", lambda scores: next(errors))
    network, best, seen = new_network(), [], []
    job = fit(
        network, images, fabric, val=images[:1], steps=10,
        on_best=lambda net, step: best.append((step, weights(net))),
    )  # fmt: skip
    drain(job, seen.append)
    validated = [p.done for p in seen if "val_mae" in p.values]
    assert validated == [4, 8, 10]
    assert [p.values["val_error"] for p in seen if "val_error" in p.values] == [3.0, 1.0, 2.0]
    assert [step for step, _ in best] == [4, 8]
    assert torch.equal(weights(network), best[-1][1])
    assert not network.training
    assert all(p.requires_grad for p in network.parameters())


def test_finished_weights_are_judged_and_kept_while_the_training_goes_on_from_its_own(
    new_network, prepared_images, fabric
):
    images = prepared_images(counts=[5, 8])
    best = []

    def finish(candidate):
        with torch.no_grad():
            candidate.head.bias.fill_(123.0)
        yield Progress(1, 1, "finishing")

    losses = []
    for finisher in (None, finish):
        learning, seen = new_network(), []
        job = fit(
            learning, images, fabric, val=images[:1], steps=8, finish=finisher,
            on_best=lambda net, step: best.append(float(net.head.bias.detach())),
        )  # fmt: skip
        drain(job, seen.append)
        losses.append([p.values["loss"] for p in seen if p.message == "training"])
    assert losses[0] == losses[1]
    assert best[-1] == float(learning.head.bias.detach()) == 123.0


def fill(candidate):
    """Finish weights in a way that can be told."""
    with torch.no_grad():
        candidate.head.bias.fill_(123.0)
    yield Progress(1, 1, "finishing")


def bias(network):
    return float(network.head.bias.detach())


def test_without_validation_the_last_weights_are_finished(new_network, prepared_images, fabric):
    network, best = new_network(), []
    drain(
        fit(
            network, prepared_images(counts=[5]), fabric, steps=5, finish=fill,
            on_best=lambda net, step: best.append((step, bias(net))),
        )
    )  # fmt: skip
    assert best == [(5, 123.0)]
    assert bias(network) == 123.0


@pytest.mark.parametrize("time", [1, 2])
def test_ending_while_weights_are_finished(new_network, prepared_images, fabric, time):
    """The first time nothing is finished yet; later the best so far is kept."""
    images = prepared_images(counts=[5, 8])
    network, best = new_network(), []
    job = fit(
        network, images, fabric, val=images[:1], steps=100, finish=fill,
        on_best=lambda net, step: best.append((step, bias(net))),
    )  # fmt: skip
    finishing = (p for p in job if p.message == "finishing")
    for _ in range(time):
        next(finishing)
    job.close()
    assert best[-1][0] == 4
    assert (bias(network) == 123.0) == (best[-1][1] == 123.0) == (time == 2)
    assert not network.training


def test_a_budget_that_ends_between_two_steps_is_finished(
    new_network, prepared_images, fabric, monkeypatch
):
    """However long the caller takes with what is yielded."""
    now = [0.0]
    monkeypatch.setattr("celltally.learn.fit.time.monotonic", lambda: now[0])
    network = new_network()
    torch.manual_seed(1)
    job = iter_fit(
        network, prepared_images(counts=[5]), (), FAST, Budget(minutes=1.0), fabric,
        nominal_px=12.0, finish=fill,
    )  # fmt: skip
    for _ in job:
        now[0] += 100.0
    assert bias(network) == 123.0


def test_weights_that_are_no_numbers(new_network, prepared_images, fabric):
    network = new_network()
    network.variance[0].weight.data.fill_(float("nan"))  # of which no loss tells
    with pytest.raises(UserError, match="diverged at step 2"):
        drain(fit(network, prepared_images(counts=[5]), fabric, steps=2))


def test_sets_have_augmentations_of_their_own(new_network, prepared_images, fabric, monkeypatch):
    given = []

    def spy(kind):
        def make(*args, **options):
            given.append((kind, options["set_augmentations"]))
            return kind(*args, **options)

        return make

    monkeypatch.setattr("celltally.learn.mixing.DotBatches", spy(DotBatches))
    monkeypatch.setattr("celltally.learn.mixing.CountBatches", spy(CountBatches))
    images = prepared_images(counts=[5])
    images.append(replace(images[0], yx=None))
    own = {"blobs": AUGMENTATIONS["slight"]}
    drain(fit(new_network(), images, fabric, steps=1, config=replace(FAST, set_augmentations=own)))
    assert given == [(DotBatches, own), (CountBatches, own)]


def stop(job, how):
    if how == "closed":
        job.close()
    else:
        with pytest.raises(how):
            job.throw(how())


@pytest.mark.parametrize("how", ["closed", KeyboardInterrupt])
@pytest.mark.parametrize("after", [2, 5])
def test_ending_early_keeps_averaged_weights(new_network, prepared_images, fabric, how, after):
    images = prepared_images(counts=[5, 8])
    network, best = new_network(), []
    before = weights(network)
    job = fit(
        network, images, fabric, val=images[:1], steps=1000,
        on_best=lambda net, step: best.append((step, weights(net))),
    )  # fmt: skip
    for _ in range(after):
        next(job)
    stop(job, how)
    step, saved = best[-1]
    assert step == min(after, 4)
    assert torch.equal(weights(network), saved)
    assert not torch.equal(saved, before)
    assert saved.isfinite().all()
    assert not network.training


def test_only_the_given_parameters_learn(new_network, prepared_images, fabric):
    images = prepared_images(counts=[5])
    network = new_network()
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    chosen = list(network.head.parameters())
    head = {id(p) for p in chosen}
    drain(fit(network, images, fabric, steps=3, parameters=chosen))
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, before[name]) == (id(parameter) not in head), name


def test_the_variance_head_learns_alone(new_network, prepared_images, fabric):
    images = prepared_images(counts=[5, 8])
    network = new_network()
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    own = {id(p) for p in network.variance_parameters()}
    config = replace(FAST, augmentation=None)
    job = fit(
        network, images, fabric, steps=4, config=config, loss=variance_only,
        parameters=network.variance_parameters(),
    )  # fmt: skip
    drain(job)
    changed = {n for n, p in network.named_parameters() if not torch.equal(p, before[n])}
    assert changed
    assert changed <= {n for n, p in network.named_parameters() if id(p) in own}


def test_without_being_told_everything_but_the_variance_head_learns(
    new_network, prepared_images, fabric
):
    network = new_network()
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    drain(fit(network, prepared_images(counts=[5, 8]), fabric, steps=4))
    own = {id(p) for p in network.variance_parameters()}
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, before[name]) == (id(parameter) in own), name


@pytest.mark.parametrize("loss", [total_loss, variance_only])
def test_counts_only_train(new_network, prepared_images, fabric, loss):
    """The whole network, and its variance head."""
    images = prepared_images(counts=[5, 8, 3], labels="counts")
    network = new_network()
    before = weights(network)
    chosen = network.variance_parameters() if loss is variance_only else None
    assert drain(fit(network, images, fabric, loss=loss, parameters=chosen)) == 6
    assert not torch.equal(weights(network), before)


def test_dots_and_counts_train_together(new_network, prepared_images, fabric):
    images = prepared_images("d", [5, 8]) + prepared_images("c", [3, 4], labels="counts")
    assert drain(fit(new_network(), images, fabric)) == 6


def test_a_plain_head_trains_as_well(tiny_config, prepared_images, fabric):
    plain = build("tally_plain", {k: v for k, v in tiny_config.items() if k != "prototypes"})
    assert drain(fit(plain, prepared_images(), fabric)) == 6


def test_a_network_without_a_variance_head_learns_as_a_whole(tiny_model):
    class Bare(CountingNetwork):
        def forward(self, images, context=None):
            raise NotImplementedError

    bare = Bare()
    bare.layer = torch.nn.Conv2d(3, 1, 1)
    assert all_but_variance(bare) == list(bare.parameters())
    network = tiny_model.network
    own = {id(p) for p in network.variance_parameters()}
    others = {id(p) for p in all_but_variance(network)}
    assert own | others == {id(p) for p in network.parameters()}
    assert not own & others


def test_prototypes_are_asked_for_through_fabrics_wrapper(
    new_network, prepared_images, fabric, monkeypatch
):
    asked = []
    monkeypatch.setattr(
        "celltally.networks.losses.diversity_loss",
        lambda prototypes, *a: asked.append(prototypes) or prototypes.sum() * 0,
    )
    drain(fit(new_network(), prepared_images(counts=[4]), fabric, steps=2))
    assert len(asked) == 2


def test_nothing_to_learn_from(new_network, fabric):
    with pytest.raises(UserError, match="no image to learn from"):
        drain(fit(new_network(), [], fabric))


def test_a_network_that_cannot_learn_from_counts(new_network, prepared_images, fabric, monkeypatch):
    network = new_network()
    monkeypatch.setattr(type(network), "supervision", frozenset({"dots"}))
    with pytest.raises(UserError, match="cannot learn from counts only"):
        drain(fit(network, prepared_images(labels="counts"), fabric))


def test_what_the_stages_leave_out_does_not_end_the_training_of_the_variance(
    prepared_images, fabric
):
    torch.manual_seed(0)
    tiny = {"backbone": "resnet18", "patch": 16, "step": 8, "side": 32, "windows": 4}
    network = build("patch_regression", tiny)
    images = prepared_images("d", [5]) + prepared_images("c", [3], labels="counts")
    drain(fit(network, images, fabric, steps=2, stage=network.stages[0]))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    learned = {"loss": variance_only, "parameters": network.variance_parameters()}
    drain(fit(network, images, fabric, steps=2, **learned))
    changed = {name for name, t in network.state_dict().items() if not torch.equal(t, before[name])}
    assert changed
    assert all(name.startswith("variance.") for name in changed)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_stage_learns_at_its_own_rate(prepared_images, fabric, rate):
    network = build("csrnet", {"width": 1 / 16})
    before = weights(network)
    stage = Stage("counter", 1.0, "dots", rate=rate)
    drain(fit(network, prepared_images(counts=[4]), fabric, steps=2, stage=stage))
    assert torch.equal(weights(network), before) == (rate == 0.0)


# ---- batches of a stage -------------------------------------------------------


def batches_of(images, network, **stage):
    batches = MixedBatches(
        network, images, replace(FAST, augmentation=None), 12.0, np.random.default_rng(0),
        Stage("part", 1.0, **stage),
    )  # fmt: skip
    batches.close()
    return batches


def test_masks_of_whole_images_come_from_dots_and_from_images_in_focus(
    new_network, prepared_images
):
    dotted = prepared_images("d", [5])
    counted = prepared_images("c", [3, 4], labels="counts")
    counted[0] = replace(counted[0], sample=replace(counted[0].sample, in_focus=False))
    images = dotted + counted
    batches = batches_of(images, new_network(), supervision="masks", whole=True)
    assert batches.dots is None
    assert batches.counts.images == [dotted[0], counted[1]]
    assert batches.counts.masks
    batches = batches_of(images, new_network(), supervision="counts", whole=True)
    assert batches.counts.images == images
    assert not batches.counts.masks
    with pytest.raises(UserError, match="no image is in focus or has dots"):
        batches_of(counted[:1], new_network(), supervision="masks", whole=True)
    with pytest.raises(ValueError, match="crops do not have"):
        Stage("eyes", 1.0, "masks")


def test_a_training_that_diverges_says_so(new_network, prepared_images, fabric):
    def diverge(network, batch, config):
        return network(batch.images).density.sum() * float("nan")

    with pytest.raises(UserError, match="diverged at step 1"):
        drain(fit(new_network(), prepared_images(counts=[4]), fabric, loss=diverge))


def test_minutes_are_a_budget_as_well(new_network, prepared_images, fabric):
    images, network = prepared_images(counts=[4]), new_network()
    job = iter_fit(network, images, (), FAST, Budget(minutes=0.2 / 60), fabric, nominal_px=12.0)
    steps = []
    assert drain(job, steps.append) == len(steps) >= 1


def test_an_unknown_device():
    with pytest.raises(UserError, match="no device 'gpu'"):
        make_fabric("gpu")


@pytest.mark.parametrize("loss", [total_loss, variance_only])
def test_what_lies_in_the_padding_is_not_asked_of_the_count(new_network, prepared_images, loss):
    """Predictions cut the padding off, so a density there must neither help nor harm."""

    class Padded(torch.nn.Module):
        def __init__(self, outside: float) -> None:
            super().__init__()
            self.outside = outside

        def encode_context(self, thumbnails):
            return None

        def forward(self, images, context):
            density = torch.full_like(inside, 0.01) + self.outside * (1 - inside)
            return Output(density, density.log())

    images = prepared_images(counts=[5], labels="counts")
    source = CountBatches(
        images, count=2, multiple=16, stride=2, rng=np.random.default_rng(0), augmentation=None
    )
    batch = next(source)
    inside = batch.inside
    assert loss(Padded(0.0), batch, FAST) == loss(Padded(9.0), batch, FAST)
    whole = replace(batch, inside=None)
    assert loss(Padded(0.0), whole, FAST) != loss(Padded(9.0), whole, FAST)


def test_making_a_fabric_says_nothing():
    """In a process of its own, where nobody has touched the loggers yet."""
    code = "from celltally.learn.fit import make_fabric; make_fabric('cpu')"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (told.stdout, told.stderr) == ("", "")


def test_the_count_of_a_crop_is_asked_for(new_network, prepared_images):
    """What hardly shows in any place adds up to a wrong count."""
    source = DotBatches(
        prepared_images(counts=[5]), size=32, count=2, multiple=4, stride=2, nominal_px=12.0,
        rng=np.random.default_rng(0), augmentation=None,
    )  # fmt: skip
    batch = next(source)
    network = new_network().train()
    with_count, without = (
        total_loss(network, batch, replace(FAST, count_weight=w, context_dropout=0.0))
        for w in (0.5, 0.0)
    )
    density = network(batch.images, network.encode_context(batch.thumbnails)).density
    expected = 0.5 * count_loss(density, batch.counts)
    assert expected > 0.01
    torch.testing.assert_close(with_count - without, expected)


@pytest.mark.parametrize(
    ("images", "given", "steps"), [(0, None, 100), (160, None, 480), (160, 7, 7)]
)
def test_validations_take_a_share_of_the_time(images, given, steps):
    config = FitConfig(validate_every=given)
    assert steps_between_validations(config, [None] * images) == steps
