"""The jobs of the Explain widget. Generators free of Qt; torch is loaded inside."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celltally._napari.counting import PlaneCount, load_again
from celltally._napari.preload import loading_torch
from celltally.types import Progress

if TYPE_CHECKING:
    from celltally.explain.gallery import Patch
    from celltally.explain.overview import Overview
    from celltally.explain.saliency import Saliency
    from celltally.explain.similarity import Similarities, Window
    from celltally.model import Model
    from celltally.network_input import ScaledImage

__all__ = [
    "Held",
    "Prototypes",
    "most_cells",
    "overview_job",
    "prototypes_job",
    "saliency_job",
    "window_job",
]

#: Megabytes of similarities that are kept for clicks; sums over regions take thrice as much.
MOST_MEGABYTES = 32.0
#: Side of a tile for a window, in model-scale pixels: few touch it, and *Cancel* is heard soon.
TILE = 512


@dataclass(frozen=True, eq=False)
class Prototypes:
    """What a model compares places with.

    Attributes
    ----------
    kinds
        ``cell`` or ``background`` for each prototype; empty for a model without.
    patches
        Training patches of each whose pixels may be shown, best first.
    new
        Numbers of those that came when the model learned from corrections.
    """

    kinds: tuple[str, ...]
    patches: tuple[tuple[Patch, ...], ...] = ()
    new: frozenset[int] = frozenset()


@dataclass
class Held:
    """The image of a count at model scale, so that it is rescaled once for many windows."""

    scaled: ScaledImage | None = None


def most_cells(prototypes: int) -> int:
    """Density cells whose similarities to so many prototypes are kept at once."""
    return int(MOST_MEGABYTES * 1e6 / 4 / max(prototypes, 1))


def prototypes_job(counted: PlaneCount) -> Generator[Progress, None, Prototypes]:
    """Read what the model that counted (it may be a base) compares places with."""
    yield Progress(0, 0, "Loading the model")
    with loading_torch():
        from celltally.explain.gallery import training_patches
        from celltally.networks import HasPrototypes

    prediction = counted.prediction
    chosen = load_again(prediction.model, prediction.model_sha256)
    model = chosen.counting(prediction.appearance)
    if not isinstance(model.network, HasPrototypes):
        return Prototypes(())
    kinds = model.network.prototype_kinds
    patches = [training_patches(record, model.pictures) for record in model.prototypes]
    patches += [()] * (len(kinds) - len(patches))  # a model without a gallery
    return Prototypes(kinds, tuple(patches), frozenset(model.record.new_prototypes))


def overview_job(counted: PlaneCount, held: Held) -> Generator[Progress, None, Overview]:
    """Say all that the prototypes say of a count; with the similarities of a small image."""
    yield Progress(0, 0, "Loading the model")
    with loading_torch():
        from celltally.explain.overview import iter_overview

    prediction = counted.prediction
    model = load_again(prediction.model, prediction.model_sha256)
    yield from _rescale(counted, held, model)
    found = yield from iter_overview(
        model, held.scaled, keep_megabytes=MOST_MEGABYTES, image=prediction.image
    )
    if found.found is not None:
        found.found.prepare()
    return found


def window_job(
    counted: PlaneCount, held: Held, window: Window | None
) -> Generator[Progress, None, Similarities]:
    """Compare a window of a counted image with the prototypes; None for all of it."""
    yield Progress(0, 0, "Loading the model")
    with loading_torch():
        import celltally.explain.contributions  # noqa: F401  (so that no click waits for it)
        from celltally.explain.similarity import iter_similarities

    prediction = counted.prediction
    model = load_again(prediction.model, prediction.model_sha256)
    yield from _rescale(counted, held, model)
    found = yield from iter_similarities(
        model, held.scaled, window=window, tile=TILE, image=prediction.image
    )
    found.prepare()
    return found


def _rescale(counted: PlaneCount, held: Held, model: Model) -> Generator[Progress, None, None]:
    from celltally.predict import scaled_for

    if held.scaled is None:
        yield Progress(0, 0, "Reading the image")
        pixels = counted.plane.read()
        held.scaled, _ = scaled_for(model, pixels, counted.prediction.diameter_px)
    yield Progress(0, 0, "Explaining")


def saliency_job(counted: PlaneCount) -> Generator[Progress, None, Saliency]:
    """Say what a count depends on: the same plane, model and cell diameter once more."""
    yield Progress(0, 0, "Loading the model")
    with loading_torch():
        from celltally.explain.saliency import iter_saliency

    prediction = counted.prediction
    model = load_again(prediction.model, prediction.model_sha256)
    yield Progress(0, 0, "Reading the image")
    pixels = counted.plane.read()
    yield Progress(0, 0, "Explaining")
    return (
        yield from iter_saliency(
            model, pixels, diameter_px=prediction.diameter_px, image=prediction.image
        )
    )
