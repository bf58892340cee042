"""What a network must offer, and what it may offer.

Callers ask what a network *can do* with ``isinstance(network, HasPrototypes)``,
never what it is called. What it may offer are classes to inherit from, not protocols:
whether ``isinstance`` sees a protocol's properties depends on the version of Python.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Self

from torch import Tensor, nn

from celltally.devices import BYTES_PER_PIXEL
from celltally.progress import drain
from celltally.types import Progress

__all__ = [
    "CanGrow",
    "CountingNetwork",
    "HasPieces",
    "HasPrototypes",
    "HasStages",
    "HasVariance",
    "Output",
    "Stage",
    "Supervision",
    "Target",
    "all_but_variance",
]

Supervision = Literal["dots", "counts", "masks"]


class Output(NamedTuple):
    """What a network says of a batch.

    Attributes
    ----------
    density
        ``(N, classes, h, w)`` float32; its sum over h and w is the count of each class.
    log_variance
        ``(N, classes, h, w)`` float32, logarithm of the variance of each density cell.
    distances
        ``(N, K, h, w)`` squared distances to the K prototypes, of networks that have
        some, while they are trained; else None.
    """

    density: Tensor
    log_variance: Tensor
    distances: Tensor | None = None


class Target(NamedTuple):
    """What is known of a batch of images.

    Attributes
    ----------
    counts
        ``(N,)`` true counts.
    density
        ``(N, 1, h, w)`` true density at the network's stride, or None where only
        counts are known.
    inside
        ``(N, 1, h, w)``, 1 where a density cell lies in its image and 0 in the padding
        around it; None where no padding is to be told.
    mask
        ``(N, 1, H, W)``, 1 inside cells and 0 outside, for stages that ask for masks.
    """

    counts: Tensor
    density: Tensor | None = None
    inside: Tensor | None = None
    mask: Tensor | None = None


@dataclass(frozen=True)
class Stage:
    """One part of a training that has several.

    Attributes
    ----------
    name
        What learns, in a word or two: ``counter``.
    share
        Share of the budget; those of a network add up to 1.
    supervision
        What its batches must have: the density (``dots``), the cells' mask (``masks``,
        of whole images only), or only the count (``counts``; images with dots will do).
    whole
        Whether it is shown whole images; else crops.
    judged
        Whether the network counts after it, so that validation can choose its weights;
        else the last ones are kept.
    optional
        Whether the network counts without it. Where no image has the dots that it asks
        for, it is then left out, and its share is the others' (a localiser: its network
        shows the counter's coarse map as the density); else the training is refused.
    rate
        Its learning rate, as a multiple of the training's.
    """

    name: str
    share: float
    supervision: Supervision
    whole: bool = False
    judged: bool = True
    optional: bool = False
    rate: float = 1.0

    def __post_init__(self) -> None:
        if self.supervision == "masks" and not self.whole:
            raise ValueError(f"the stage {self.name!r} needs masks, which crops do not have")


class CountingNetwork(nn.Module, ABC):
    """Base of every family: images at model scale in, density and variance out.

    Attributes
    ----------
    config
        Dataclass of numbers from which the network can be built again.
    stride
        Model-scale pixels per density cell.
    multiple
        Height and width of the input must be multiples of this.
    halo
        Model-scale pixels around a tile that its density depends on; None for
        networks that take whole images only.
    bytes_per_pixel
        Memory that counting needs at its peak for each model-scale pixel, in float32. By it
        the side of a tile is chosen, and a whole image refused that cannot fit; what an
        image of any size needs is left out.
    supervision
        What it can be trained on.
    """

    config_type: ClassVar[type]
    supervision: ClassVar[frozenset[Supervision]]
    stride: int
    multiple: int
    halo: int | None
    bytes_per_pixel: int = BYTES_PER_PIXEL

    @abstractmethod
    def forward(self, images: Tensor, context: Tensor | None = None) -> Output:
        """Density and log-variance of ``(N, 3, H, W)`` float images at model scale.

        Parameters
        ----------
        images
            Normalised images or tiles.
        context
            What ``encode_context`` made of the whole images, ``(N, D)``; None
            where the network has no global context or none is to be used.
        """

    def encode_context(self, thumbnails: Tensor) -> Tensor | None:
        """Global context of whole images from their ``(N, 3, 64, 64)`` thumbnails.

        It is computed once per image and given to every tile, so that tiled
        equals untiled. None where a network needs no such thing.
        """
        return None


class HasPieces(CountingNetwork):
    """A network that looks at a whole image piece by piece, and can be stopped in between."""

    @abstractmethod
    def iter_forward(
        self, images: Tensor, context: Tensor | None = None
    ) -> Generator[Progress, None, Output]:
        """Say what ``forward`` says, yielding after every piece.

        No mode of torch that it has changed outlasts a yield.
        """

    def forward(self, images: Tensor, context: Tensor | None = None) -> Output:
        """See ``CountingNetwork.forward``."""
        return drain(self.iter_forward(images, context))


class HasVariance(CountingNetwork):
    """A network with a variance head, trained on its (frozen) features in a step of its own."""

    @abstractmethod
    def variance_parameters(self) -> list[nn.Parameter]:
        """Parameters that the variance head alone owns."""


class HasStages(CountingNetwork):
    """A network that is trained part after part, each with a loss of its own.

    A network without this learns all at once, by the losses of a density
    (``celltally.networks.losses``).
    """

    def train(self, mode: bool = True) -> Self:
        """Set the mode; batch norms that do not learn keep their statistics as well."""
        super().train(mode)
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and not _learns(layer):
                layer.eval()
        return self

    @property
    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """The parts, in their order."""

    @abstractmethod
    def stage_parameters(self, stage: Stage) -> list[nn.Parameter]:
        """Parameters that a part trains; the others stay as they are."""

    @abstractmethod
    def stage_loss(
        self, stage: Stage, images: Tensor, context: Tensor | None, target: Target
    ) -> Tensor:
        """Loss of a batch, a scalar."""


def _learns(layer: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in layer.parameters())


class HasPrototypes(CountingNetwork):
    """A network whose density is a weighted sum of similarities to prototypes."""

    @property
    @abstractmethod
    def prototypes(self) -> Tensor:
        """``(K, D)``: the first half cell prototypes, the second background ones."""

    @property
    @abstractmethod
    def prototype_kinds(self) -> tuple[str, ...]:
        """``cell`` or ``background`` for each prototype."""

    @property
    def contributing(self) -> tuple[bool, ...]:
        """Whether each prototype has a say in the density; the others' weights stay zero."""
        return (True,) * len(self.prototype_kinds)

    @property
    @abstractmethod
    def contribution_weights(self) -> tuple[Tensor, Tensor]:
        """Weights ``(classes, K)`` and bias ``(classes,)`` of the similarities."""

    @abstractmethod
    def features(self, images: Tensor, context: Tensor | None = None) -> Tensor:
        """``(N, D, h, w)`` float32 features that prototypes are compared with."""

    @abstractmethod
    def distances(self, features: Tensor) -> Tensor:
        """``(N, K, h, w)`` squared distances of features to prototypes."""

    @abstractmethod
    def similarities(self, distances: Tensor) -> Tensor:
        """Similarities from squared distances; their weighted sum is the density."""

    @abstractmethod
    def set_prototypes(self, prototypes: Tensor) -> None:
        """Put every prototype onto a feature that was found in a training image."""

    @abstractmethod
    def set_contribution_weights(self, weight: Tensor, bias: Tensor) -> None:
        """Replace the weights ``(classes, K)`` and bias ``(classes,)`` of the similarities."""


class CanGrow(HasPrototypes):
    """A network that can be given further prototypes."""

    @abstractmethod
    def grown(self, cells: Tensor, background: Tensor) -> Self:
        """Copy of the network with more prototypes; it counts as before, for they weigh nothing.

        Parameters
        ----------
        cells, background
            ``(m, D)`` features, as many of either kind. New prototypes are the last of
            their group.
        """


def all_but_variance(network: CountingNetwork) -> list[nn.Parameter]:
    """Parameters of a network without those of a variance head, if it has one."""
    own = network.variance_parameters() if isinstance(network, HasVariance) else []
    variance = set(map(id, own))
    return [p for p in network.parameters() if id(p) not in variance]
