"""What is judged by its explanations: given models, and networks without some losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from accuracy_lib.systems import GivenModel, Job, Measured, Measuring, Network

from celltally.evaluate.report import Report, iter_evaluate
from celltally.explain.boxes import FLOOR, PERCENTILE
from celltally.networks import build, config_of
from celltally.record import read_record

__all__ = ["BEFORE", "VARIANTS", "Explained", "Variant", "figures_of", "measure_explained"]

#: Weights that are taken away, by the name of the variant.
VARIANTS: Mapping[str, Mapping[str, float]] = {
    "full": {},
    "no diversity": {"diversity_weight": 0.0},
    "no prototype-to-feature": {"prototype_weight": 0.0},
    "neither": {"diversity_weight": 0.0, "prototype_weight": 0.0},
}

#: Images of a set that are changed where given models are judged.
CHANGED = 10
#: What the record of a training says of the time before the projection, and the name here.
BEFORE = {
    "excess cosine before projection": "excess_cosine_before",
    "distinct prototypes before projection": "distinct_before",
    "prototypes astray before projection": "astray_before",
}


@dataclass(frozen=True)
class Explained:
    """A given model, judged by its explanations as well."""

    model: GivenModel
    kind: ClassVar[str] = "model"
    learns: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """Name in the table."""
        return self.model.label

    def identity(self) -> dict[str, Any]:
        """Tell which model, and by which rule boxes are drawn."""
        return {**self.model.identity(), "boxes": [PERCENTILE, FLOOR]}

    def measure(self, job: Job) -> Measuring:
        """Count and explain with it as it is."""
        return (yield from measure_explained(self.model.folder, job, changed=CHANGED))


@dataclass(frozen=True)
class Variant:
    """A network without some losses.

    Attributes
    ----------
    losses
        Name in ``VARIANTS``.
    whole
        The network with all losses.
    network
        What is trained.
    """

    losses: str
    whole: Network
    network: Network
    kind: ClassVar[str] = "variant"
    learns: ClassVar[bool] = True

    @classmethod
    def of(cls, name: str, config: Mapping[str, Any], losses: str, minutes: float) -> Variant:
        """Weights are the network's own settings where it has them, or the training's."""
        weights = VARIANTS[losses]
        own = weights.keys() <= config_of(build(name, config)).keys()
        network = Network(
            name,
            minutes=minutes,
            config={**config, **(weights if own else {})},
            on_cpu=True,
            losses={} if own else weights,
        )
        return cls(losses, Network(name, minutes=minutes, config=config, on_cpu=True), network)

    @property
    def label(self) -> str:
        """Name of the row."""
        return f"{self.whole.label}: {self.losses}"

    def identity(self) -> dict[str, Any]:
        """Tell what is trained, and by which rule boxes are drawn."""
        return {**self.network.identity(), "boxes": [PERCENTILE, FLOOR]}

    def measure(self, job: Job) -> Measuring:
        """Train it, unless that has been done, count and explain."""
        measured = yield from measure_explained((yield from self.network.trained(job)), job)
        named = {"network": self.whole.label, "losses": self.losses}
        return Measured({**measured.figures, **named}, measured.per_image)


def measure_explained(folder: Path, job: Job, changed: int = 0) -> Measuring:
    """Count a job's images with a model folder, and judge its explanations."""
    report = yield from iter_evaluate(
        job.part, model=folder, diameter=job.diameter, device=job.device,
        explanations=True, changed_images=changed,
    )  # fmt: skip
    return Measured(figures_of(report, folder), report.per_image)


def figures_of(report: Report, folder: Path) -> dict[str, Any]:
    """All figures of a row: counts, explanations, and what the training noted."""
    record = read_record(folder)
    spent = record.training
    return {
        **report.metrics,
        **report.explanations,
        **{name: spent[key] for key, name in BEFORE.items() if key in spent},
        "sha256": record.sha256,
        "failed": report.failed,
        "steps": spent.get("steps"),
    }
