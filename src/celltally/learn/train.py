"""A whole training, from data set folders to a calibrated model folder (design §3).

fit, where validation chooses those averaged weights that are best with projected
prototypes and a refitted last layer → patches of the prototypes → variance head →
rounding to what is stored → validation → calibration.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from lightning.fabric import Fabric, seed_everything
from torch import Tensor

from celltally.diameter import check_diameter
from celltally.errors import UserError
from celltally.learn.augment import name_of
from celltally.learn.calibrate import calibrate_on
from celltally.learn.data import Dataset, Sample, hash_samples, read_datasets, split_by_group
from celltally.learn.fit import (
    Budget,
    FitConfig,
    iter_fit,
    make_fabric,
    variance_only,
)
from celltally.learn.gallery import Gallery, iter_gallery
from celltally.learn.prepare import PreparedImage, prepare
from celltally.learn.projected import Head, Projected, count_errors, told
from celltally.learn.push import iter_project
from celltally.learn.refit import iter_refit
from celltally.learn.replay import in_words, make_replay, replay_patches
from celltally.learn.seen import check_unseen, image_hashes, is_among
from celltally.learn.validate import validate
from celltally.model import Model
from celltally.networks import (
    CountingNetwork,
    HasPrototypes,
    HasStages,
    HasVariance,
    Stage,
    build,
)
from celltally.networks.groups import tolerance_of
from celltally.record import REPLAY, ModelRecord, TrainingSet
from celltally.types import Progress

__all__ = ["TrainingPlan", "iter_train"]

Pairs = list[tuple[Dataset, Sample]]

NETWORK = "tally"
#: Cell diameter at model scale where every data set has its own.
NOMINAL_PX = 12.0
#: Share of the budget that the variance head is given, where there is one.
VARIANCE_SHARE = 0.1
#: Tells the chance that chooses the patches to keep from the one that draws batches.
REPLAY_STREAM = 1
#: Share of the images, by group, for validation and for calibration, where no
#: data sets are given for them.
VAL, CALIBRATE = 0.15, 0.15


@dataclass(frozen=True)
class TrainingPlan:
    """Which images do what; no group of images is in two parts.

    Attributes
    ----------
    train, val, calibrate
        Samples with their data sets.
    left_out
        Those that nothing is learned from, as others of their group validate or
        calibrate.
    """

    train: Pairs
    val: Pairs
    calibrate: Pairs
    left_out: Pairs


def make_plan(
    data: Sequence[Path],
    val: Sequence[Path],
    calibrate: Sequence[Path],
    seed: int,
    parent: ModelRecord | None = None,
) -> TrainingPlan:
    """Divide data sets by group, as far as validation and calibration are not given.

    Groups that the parent has seen stay in ``data``, or validate where they only chose
    its weights.

    Where they are given and share a group or an image file with ``data``, that group is
    left out of ``data``: a network must not have learned from what judges it.

    Raises
    ------
    UserError
        For folders that are no data sets, for validation and calibration data that
        share a group or an image file or that the parent has seen, and when nothing is
        left to learn from.
    """
    parts: dict[str, Pairs] = {
        "val": [(d, s) for d in read_datasets(val) for s in d.samples],
        "calibrate": [(d, s) for d in read_datasets(calibrate) for s in d.samples],
    }
    taught = set() if parent is None else set(parent.taught_by)
    seen = {"val": taught, "calibrate": taught | set(() if parent is None else parent.chosen_by)}
    if parent is not None:
        check_unseen(parts["val"], parent, "validate")
        check_unseen(parts["calibrate"], parent, "calibrate")
    given = {name: set().union(*(_keys(s) for _, s in pairs)) for name, pairs in parts.items()}
    for _, sample in parts["calibrate"]:
        if _keys(sample) & given["val"]:
            raise UserError(
                f"the group {sample.group!r} ({sample.image}) is in the calibration data and in "
                "the validation data, and what calibrates must choose nothing else; leave it out "
                "of one of them"
            )
    train: Pairs = []
    left_out: Pairs = []
    sets: dict[str, dict[Sample, Dataset]] = {}
    for dataset in read_datasets(data):  # folders of one set may share groups
        sets.setdefault(dataset.name, {}).update(dict.fromkeys(dataset.samples, dataset))
    for owner in sets.values():
        judges = {s.group for s in owner if _keys(s) & (given["val"] | given["calibrate"])}
        left_out += [(owner[s], s) for s in owner if s.group in judges]
        rest = [s for s in owner if s.group not in judges]
        for name, fraction in (("val", VAL), ("calibrate", CALIBRATE)):
            if not given[name]:
                barred = {s.group for s in rest if is_among(s, seen[name])}
                rest, taken = split_by_group(rest, fraction, seed, barred)
                parts[name] += [(owner[sample], sample) for sample in taken]
        train += [(owner[sample], sample) for sample in rest]
    if left_out and not train:
        dataset, sample = left_out[0]
        raise UserError(
            f"nothing is left to learn from: every group of {dataset.folder}, such as "
            f"{sample.group!r}, is in the validation or calibration data as well; give other "
            "images to learn from, or leave the choice of these parts to the training"
        )
    return TrainingPlan(train, parts["val"], parts["calibrate"], left_out)


def _keys(sample: Sample) -> set[str]:
    """Name what no two parts of a plan may share: the group and the image file."""
    return {sample.group, str(sample.image.resolve())}


def iter_train(
    data: Sequence[Path],
    *,
    network: str | None = None,
    out: Path,
    val: Sequence[Path] = (),
    calibrate: Sequence[Path] = (),
    steps: int | None = None,
    minutes: float | None = None,
    clock: Callable[[], float] | None = None,
    seed: int = 0,
    device: str = "auto",
    devices: int = 1,
    diameter_px: float | None = None,
    sample: str = "",
    start: Path | None = None,
    network_config: dict[str, Any] | None = None,
    fit: FitConfig | None = None,
) -> Generator[Progress, None, Model]:
    """Train a model and save it as a folder.

    The best weights so far are saved at every validation, with projected prototypes and a
    refitted last layer, so that whatever ends the training leaves a usable (then
    uncalibrated) model. Ended before the first validation, it leaves the weights as they
    are, with prototypes that lie nowhere yet.

    Parameters
    ----------
    data
        Data set folders to learn from.
    network
        Registered name; None for the parent's, else ``tally``.
    out
        Folder of the model; it must not exist.
    val, calibrate
        Data set folders that choose the best weights, and that calibrate; their
        groups are left out of ``data``. Without them a part of ``data`` does,
        divided by group.
    steps, minutes, clock
        The budget, see ``Budget``.
    seed
        The same seed and number of steps give the same model on the same machine.
    device
        See ``iter_predict``.
    diameter_px
        Nominal diameter at model scale.
    sample
        In words, what the model counts.
    devices
        How many of them.
    start
        Folder of a model whose weights, network and nominal diameter the training
        starts from; it becomes the parent. None to start from chance.
    network_config, fit
        Settings other than the defaults; a parent's network has its own.

    Yields
    ------
    Progress
        ``values`` with ``loss`` and, after validations, ``val_mae`` and ``val_error``.

    Raises
    ------
    UserError
        When data, budget, network, device or place cannot be used.
    """
    if out.exists():
        raise UserError(f"{out} exists already; choose another place for the new model")
    if not 0 <= seed < 2**32:
        raise UserError(f"the seed {seed} cannot be used; give a number from 0 to {2**32 - 1}")
    budget = Budget(steps, minutes, clock)
    parent = None if start is None else Model.load(start)
    if parent is not None and (network or parent.record.network) != parent.record.network:
        raise UserError(
            f"the model {parent.name!r} is a {parent.record.network!r}, not a {network!r}: leave "
            "the network out, or start from a model that has it"
        )
    if parent is not None and network_config:
        raise UserError(
            f"the network of the model {parent.name!r} has settings of its own; leave yours out"
        )
    nominal = NOMINAL_PX if diameter_px is None else diameter_px
    nominal = parent.diameter_px if parent is not None else nominal
    if problem := check_diameter(nominal):
        raise UserError(problem)
    plan = make_plan(data, val, calibrate, seed, None if parent is None else parent.record)
    seed_everything(seed, verbose=False)
    net = build(network or NETWORK, network_config) if parent is None else parent.network
    if (classes := getattr(net.config, "classes", 1)) != 1:
        raise UserError(f"{classes} classes cannot be learned, for data sets tell none; leave 1")
    fabric = make_fabric(device, devices=devices)
    train_images = yield from prepare(plan.train, nominal)
    val_images = yield from prepare(plan.val, nominal)
    trainer = _Trainer(
        net, plan, train_images, val_images, replace(fit or FitConfig(), seed=seed), budget, fabric,
        nominal, out, sample, parent, pretrained=bool((network_config or {}).get("pretrained")),
    )  # fmt: skip
    return (yield from trainer.run(device))


class _Trainer:
    """The stages of one training and what they share."""

    def __init__(
        self,
        network: CountingNetwork,
        plan: TrainingPlan,
        train: list[PreparedImage],
        val: list[PreparedImage],
        config: FitConfig,
        budget: Budget,
        fabric: Fabric,
        nominal_px: float,
        out: Path,
        sample: str,
        parent: Model | None,
        pretrained: bool = False,
    ) -> None:
        self.network, self.plan, self.pretrained = network, plan, pretrained
        self.train, self.val = train, val
        self.config, self.budget, self.fabric = config, budget, fabric
        self.nominal_px, self.out, self.sample = nominal_px, out, sample
        self.parent = parent
        own = network.stages if isinstance(network, HasStages) else ()
        self.stages = possible_stages(own, train)
        self.gallery = Gallery((), {})
        self.kept = replay_patches({} if parent is None else parent.replay)
        #: What finishing did to the weights that were finished last, and to the best ones.
        self.finished: Projected | None = None
        self.projected: Projected | None = None
        self.start, self.steps = budget.now(), 0
        before = None if parent is None else parent.record
        self.sources = _sources(plan.train, () if before is None else before.training_data)
        self.taught_by = image_hashes(
            (s for _, s in plan.train), () if before is None else before.taught_by
        )
        self.chosen_by = image_hashes(
            (s for _, s in plan.val), () if before is None else before.chosen_by
        )

    def run(self, device: str) -> Generator[Progress, None, Model]:
        apart = isinstance(self.network, HasVariance)
        fit = self.budget.share(1 - VARIANCE_SHARE) if apart else self.budget
        if self.parent is not None:  # whose prototypes may lie in images of another kind
            yield from self._finish(self.network)
            self.finished = None  # what it did belongs to the parent
        for stage in self.stages:
            yield from self._fit(fit.share(stage.share), stage)
        if not self.stages:
            yield from self._fit(fit)
        if isinstance(self.network, HasPrototypes):
            yield from self._find_patches(self.network)
            self._save_best(self.network, self.steps)
        if isinstance(self.network, HasVariance):
            quick = replace(
                self.config, validate_every=10**9, weight_decay=0.0, augmentation=None,
                set_augmentations={},
            )  # fmt: skip
            self.steps += yield from iter_fit(
                self.network, self.train, (), quick, self.budget.share(VARIANCE_SHARE), self.fabric,
                nominal_px=self.nominal_px, loss=variance_only,
                parameters=self.network.variance_parameters(),
            )  # fmt: skip
        model = self._model()
        scores = validate(model.network, self.val, self.fabric.device)
        metrics = {name: asdict(s) for name, s in scores.items()}
        training = model.record.training
        if scores and self.projected is not None and isinstance(model.network, HasPrototypes):
            before = count_errors(model.network, self.projected, self.val, self.fabric.device)
            metrics = {name: row | before[name] for name, row in metrics.items()}
            training = {**training, "projection": told(scores, before)}
        model = replace(model, record=replace(model.record, metrics=metrics, training=training))
        model.network.cpu()
        model = self._save(model)  # whatever ends the calibration, the model is there
        if self.plan.calibrate:
            others = [*self.plan.train, *self.plan.val]
            model = yield from calibrate_on(
                model, self.plan.calibrate, others=others, device=device
            )
            model = self._save(model)
        return model

    def _fit(self, budget: Budget, stage: Stage | None = None) -> Generator[Progress, None, None]:
        """Train the network, or the part of it that a stage trains."""
        judged = stage is None or stage.judged
        before = self.steps

        def save(network: CountingNetwork, step: int) -> None:
            self.projected = self.finished
            self._save_best(network, before + step)

        done = yield from iter_fit(
            self.network, self.train, self.val if judged else (), self.config, budget, self.fabric,
            nominal_px=self.nominal_px, stage=stage, finish=self._finish if judged else None,
            # What was judged before is better than what nobody has judged.
            on_best=save if judged or not self.out.exists() else None,
        )  # fmt: skip
        self.steps = before + done

    def _finish(self, network: CountingNetwork) -> Generator[Progress, None, None]:
        """Project the prototypes, and fit the last layer to where they now are."""
        if isinstance(network, HasPrototypes):
            where: dict[str, Any] = {"nominal_px": self.nominal_px, "device": self.fabric.device}
            learned = Head.of(network)
            projection = yield from iter_project(network, self.train, **where)
            if any(projection.places):
                self.finished = Projected(learned, Head.of(network), projection.astray)
            yield from iter_refit(network, self.train, **where)

    def _find_patches(self, network: HasPrototypes) -> Generator[Progress, None, None]:
        """Find what the prototypes look like."""
        self.gallery = yield from iter_gallery(
            network, self.train, nominal_px=self.nominal_px, device=self.fabric.device,
            cc0=self._free,
        )  # fmt: skip

    @property
    def _free(self) -> frozenset[str]:
        """Names of the data sets whose pixels the model may keep."""
        # A name that stands for sets of several licences is shown under the strictest.
        hidden = {d.name for d, _ in self.plan.train if not d.may_be_kept}
        return frozenset(d.name for d, _ in self.plan.train) - hidden

    @cached_property
    def _replay(self) -> dict[str, Tensor]:
        """Patches that the model keeps, to be shown again when it learns more."""
        # A source of its own, so that what is kept changes nothing of what is learned.
        rng = np.random.default_rng((self.config.seed, REPLAY_STREAM))
        return make_replay(self.train, rng, free=self._free, kept=self.kept)

    def _told_replay(self) -> dict[str, str]:
        """Say which patches the model keeps, for the record."""
        if not self._replay:
            return {}
        words = in_words(self._replay, {s.name: s.licence for s in self.sources})
        return {"patches kept": f"{words}, in {REPLAY}, to be shown again when it learns more"}

    def _save_best(self, network: CountingNetwork, step: int) -> None:
        self.steps = step
        if self.fabric.is_global_zero:
            self._model(copy.deepcopy(network)).save(self.out)

    def _save(self, model: Model) -> Model:
        """Save in one process of several; the others go on when the folder is there."""
        if self.fabric.is_global_zero:
            model = model.save(self.out)
        self.fabric.barrier()
        return model

    def _model(self, network: CountingNetwork | None = None) -> Model:
        model = Model.from_network(
            network or self.network,
            name=self.out.name,
            diameter_px=self.nominal_px,
            sample=self.sample,
            training_data=self.sources,
            taught_by=self.taught_by,
            chosen_by=self.chosen_by,
            training={
                "seed": self.config.seed,
                # A network's config does not tell it: it is built again without them.
                **({"started from": "ImageNet weights of torchvision"} if self.pretrained else {}),
                "steps": self.steps,
                "minutes": round((self.budget.now() - self.start) / 60, 1),
                "crops per step": f"{self.config.batch} of {self.config.crop} px, "
                "or more of smaller ones",
                "learning rate": self.config.learning_rate,
                **({"parts": _parts(self.stages)} if self.stages else {}),
                "augmentation": _changes(self.config),
                "crops drawn": _told(self.config.set_weights),
                **({"left out": _counted(self.plan.left_out)} if self.plan.left_out else {}),
                **self._before_projection(),
                **self._told_replay(),
            },
            replay=self._replay,
            parent=None if self.parent is None else self.parent.sha256,
            created=date.today().isoformat(),
        )
        return replace(model, prototypes=self.gallery.prototypes, pictures=self.gallery.pictures)

    def _before_projection(self) -> dict[str, Any]:
        """Say how the prototypes of the best weights were, for the record."""
        if self.projected is None or not isinstance(self.network, HasPrototypes):
            return {}
        tolerance = tolerance_of(self.network, self.config.tolerance)
        return self.projected.figures(self.network, tolerance)


def possible_stages(stages: Sequence[Stage], images: Sequence[PreparedImage]) -> list[Stage]:
    """Leave out the optional stages that ask for dots where there are none.

    Their shares of the budget are the others'.
    """
    dotted = any(image.yx is not None for image in images)
    left = [s for s in stages if dotted or not (s.optional and s.supervision == "dots")]
    total = sum(stage.share for stage in left)
    return [replace(stage, share=stage.share / total) for stage in left]


def _parts(stages: Sequence[Stage]) -> str:
    """Say which parts the training had, for the record."""
    return ", ".join(
        f"{stage.name} {stage.share:.0%}"
        + ("" if stage.rate == 1 else f" at {stage.rate:g} times the learning rate")
        for stage in stages
    )


def _told(set_weights: Mapping[str, float]) -> str:
    """Say how often the data sets' crops are drawn, for the record."""
    if not set_weights:
        return "from every set alike"
    named = ", ".join(f"{name} × {weight:g}" for name, weight in set_weights.items())
    return f"{named}, others × 1"


def _changes(config: FitConfig) -> str:
    """Say how strongly crops are changed, for the record."""
    named = [f"{name} {name_of(change)}" for name, change in config.set_augmentations.items()]
    return ", ".join([*named, ("others " if named else "") + name_of(config.augmentation)])


def _counted(left_out: Pairs) -> str:
    """Say which images nothing was learned from, for the record."""
    numbers = Counter(dataset.name for dataset, _ in left_out)
    named = ", ".join(f"{name} {n}" for name, n in numbers.items())
    return f"images whose group validates or calibrates ({named})"


def _sources(pairs: Pairs, before: Sequence[TrainingSet]) -> tuple[TrainingSet, ...]:
    """Say what was learned from, now and before; a set that both used is told as now."""
    sets: dict[tuple[str, str], list[Sample]] = {}
    for dataset, sample in pairs:
        sets.setdefault((dataset.name, dataset.licence), []).append(sample)
    now = tuple(
        TrainingSet(name=name, images=len(samples), licence=licence, sha256=hash_samples(samples))
        for (name, licence), samples in sets.items()
    )
    return now + tuple(old for old in before if (old.name, old.licence) not in sets)
