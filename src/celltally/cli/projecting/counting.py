"""The images of a project are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from celltally.cli._options import Channel, Device
from celltally.cli._output import failure, follow, plain, say
from celltally.cli.counting import ZStack, parse_channel, parse_planes
from celltally.cli.projecting._models import model_of
from celltally.cli.projecting._open import File, command, images_named, n_images, writing
from celltally.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from celltally.types import Progress

__all__ = ["register"]


def register(project: typer.Typer) -> None:
    """Add the commands."""
    command(project, count, "count study.celltally --model nuclei-fluorescence")


def count(
    file: File,
    model: Annotated[
        str | None,
        typer.Option(
            help="A model's name or folder; left out, the one that the study is locked to, else "
            "that of its newest count, else general."
        ),
    ] = None,
    diameter: Annotated[
        float | None,
        typer.Option(
            metavar="PX",
            help="Cell diameter in pixels; left out, that of the lock, else it is estimated.",
        ),
    ] = None,
    channel: Channel = None,
    plane: Annotated[
        str | None,
        typer.Option(
            metavar="t=0,z=3",
            help="Plane of a stack; the first time point and the middle z if left out. "
            "t=all counts each time point.",
        ),
    ] = None,
    z_stack: Annotated[
        ZStack,
        typer.Option(
            help="Of a z stack count one plane, its maximum projection, or every plane with a "
            "cell's dots merged into one."
        ),
    ] = ZStack.PLANE,
    image: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this image; may be repeated.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Count what was counted so already, too.")
    ] = False,
    marked: Annotated[
        bool,
        typer.Option(
            "--marked",
            help="In a locked study count with another model all the same; such counts are marked.",
        ),
    ] = False,
    device: Device = "auto",
) -> None:
    """Count the images that were not counted yet, or were counted otherwise.

    What is found is proposed; what a person added, moved, removed, confirmed or reviewed
    stays. Ends with 1 when some images could not be counted.
    """
    from celltally import zoo
    from celltally.batch.settings import Settings
    from celltally.project.figures import level_of
    from celltally.project.lineage import remember_lineages
    from celltally.project.study_lock import locked

    planes = parse_planes(plane)
    with writing(file) as store:
        held = locked(store)
        if diameter is None and held is not None:
            diameter = held.diameter_px
        settings = Settings(
            diameter_px=diameter,
            channel=parse_channel(channel),
            plane=planes,
            z_stack=z_stack.value,
            merge_distance_px=None,
            merge_gap=0,
            level=level_of(store),
            device=device,
        )
        if problem := settings.problem():
            raise UserError(problem)
        chosen = None if not image else [e.id for name in image for e in images_named(store, name)]
        loaded = zoo.load(model_of(store, model))
        if held is not None and not held.holds(loaded.sha256, loaded.calibration_sha256):
            # Which model was named by nobody is the locked one, maybe calibrated anew.
            if model is not None and not marked:
                raise UserError(
                    f"{file.name} is locked to {held.version}, and {loaded.name} "
                    f"({loaded.sha256[:8]}) would count otherwise: give --marked to count so and "
                    "have it marked, or count all images with it by 'celltally project recount'"
                )
            say(f"The study is locked to {held.text}: what this counts is marked.")
        from celltally.batch.in_project import ProjectCounted, iter_count_project

        def tell(draw: Callable[..., None], step: Progress) -> None:
            draw(step)
            if isinstance(step, ProjectCounted) and step.entry is not None:
                if step.problem:
                    failure(step.problem)
                for proposal in step.proposals:
                    print(f"{plain(step.entry.name)}\t{proposal.text}")

        job = iter_count_project(
            store,
            loaded,
            settings,
            threshold=None if held is None else held.threshold,
            again=again,
            image_ids=chosen,
        )
        counted, failed = follow(job, "counting", tell)
        if counted:
            remember_lineages(store, [loaded.record, *zoo.available()])
    say(f"Counted {n_images(counted)} with {loaded.name} ({loaded.sha256[:8]}).")
    if failed:
        raise typer.Exit(1)
