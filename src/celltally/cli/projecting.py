"""``celltally project``: the images, counts and corrections of a study, in one file."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celltally.cli._options import AsJson, Device
from celltally.cli._output import failure, follow, plain, print_json, print_table, say
from celltally.cli.counting import ZStack, parse_channel, parse_planes
from celltally.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from celltally.project.images import ImageEntry
    from celltally.project.plate_map import Preview
    from celltally.project.store import Store
    from celltally.project.study import Group, Lock, StudyRow
    from celltally.types import Interval, Progress

__all__ = ["register"]

File = Annotated[Path, typer.Argument(metavar="FILE", help="The project.")]
By = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMNS", help="Group by these columns, such as condition or plate,well."
    ),
]

project = typer.Typer(
    name="project",
    help="Keep the images, counts and corrections of a study in one file.",
    epilog="Example: celltally project new study.celltally",
    rich_markup_mode=None,
)


@project.callback(invoke_without_command=True)
def _start(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(project)


def _command(example: str, name: str | None = None) -> Callable[[Any], Any]:
    return project.command(name, epilog=f"Example: celltally project {example}")


# ---- making and filling ----


@_command("new study.celltally")
def new(file: File) -> None:
    """Make a project."""
    from celltally.project.store import SUFFIX, Store

    if not file.suffix:
        file = file.with_suffix(SUFFIX)
    if file.exists():
        raise UserError(f"{file} exists already; give another name, or go on with it")
    with Store(file):
        say(f"Made {file}.")


@_command("add study.celltally plate_3/")
def add(
    file: File,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES", help="Images and folders.")],
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Look into subfolders as well.")
    ] = False,
) -> None:
    """Add images; those that it knows already, by their content, stay as they are.

    Ends with 1 when some could not be read; the others are added.
    """
    from celltally.errors import failure as sentence_of
    from celltally.io import find_images
    from celltally.project.images import all_images

    found = find_images(images, recursive=recursive)
    failed = 0
    with _writing(file) as store:
        before = {entry.id for entry in all_images(store)}
        added: set[int] = set()
        for path in found:
            try:
                added |= set(_register(store, path))
            except Exception as error:  # the others are added all the same
                failure(sentence_of(error, path))
                failed += 1
    fresh = len(added - before)
    known = len(added & before)
    text = f"Added {_images(fresh)}"
    say(
        f"{text}; {_images(known)} {'was' if known == 1 else 'were'} known."
        if known
        else f"{text}."
    )
    if failed:
        raise typer.Exit(1)


def _register(store: Store, path: Path) -> list[int]:
    """Add a file, or each scene of it."""
    from celltally.io import list_scenes, read_image
    from celltally.project.images import register as register_image

    numbers = []
    scenes: list[str | None] = [*list_scenes(path)]
    for scene in scenes or [None]:
        image = read_image(path, scene=scene)
        sizes = image.sizes
        numbers.append(
            register_image(
                store,
                name=path.name,
                path=path,
                scene=scene,
                shape=(sizes["Y"], sizes["X"]),
                pixel_size_um=image.pixel_size_um,
            )
        )
    return numbers


@_command("find study.celltally /data/moved/")
def find(
    file: File,
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER", help="Where to look.")],
) -> None:
    """Find images again whose files were moved or renamed, by their content."""
    from celltally.project.images import find_again

    for folder in folders:
        if not folder.is_dir():
            what = "is a file" if folder.exists() else "does not exist"
            raise UserError(f"{folder} {what}; give a folder to look in")
    with _writing(file) as store:
        found, missing = follow(find_again(store, folders), "looking", _draw)
    for entry in found:
        print(f"{plain(entry.name)}\t{plain(str(entry.path))}")
    say(f"Found {_images(len(found))}; {_images(len(missing))} still missing.")
    for entry in missing:
        failure(f"{entry.path} was not found in these folders; look in others")
    if missing:
        raise typer.Exit(1)


@_command("plate study.celltally --pattern '{plate}_{well}_s{site}.tif'")
def plate(
    file: File,
    plate_map: Annotated[
        Path | None,
        typer.Argument(
            metavar="[MAP]",
            help="Table (CSV) with a column image or well; its other columns are kept.",
        ),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            help="What file names tell, such as {plate}_{well}_s{site}.tif; or a regular "
            "expression with named groups."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be set.")
    ] = False,
) -> None:
    """Say which plate, well, condition or replicate images are of.

    With both, file names are read first, so that the map can go by their wells.
    """
    if plate_map is None and pattern is None:
        raise UserError("give a plate map (CSV) or --pattern, such as {well}_s{site}.tif")
    from celltally.project.plate_map import apply, from_names, from_plate_map, read_plate_map

    if dry_run and pattern is not None and plate_map is not None:
        raise UserError("show the map and the pattern one after the other: --dry-run takes one")
    read = None if plate_map is None else read_plate_map(plate_map)
    with _reading(file) if dry_run else _writing(file) as store:

        def use(preview: Preview) -> None:
            if dry_run:
                _print_preview(preview)
            else:
                apply(store, preview)
            for sentence in preview.sentences:
                say(sentence)

        if pattern is not None:
            use(from_names(store, pattern))
        if read is not None:
            use(from_plate_map(store, read))


def _print_preview(preview: Preview) -> None:
    rows = [
        [one.entry.name, *(one.values.get(name, "") for name in preview.columns)]
        for one in preview.assignments
    ]
    print_table(["image", *preview.columns], rows)


# ---- counting ----


@_command("count study.celltally --model nuclei-fluorescence")
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
    channel: Annotated[
        str | None,
        typer.Option(metavar="C", help="Channel by name or number from 0; guessed if left out."),
    ] = None,
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
    device: Device = "auto",
) -> None:
    """Count the images that were not counted yet, or were counted otherwise.

    What is found is proposed; what a person added, moved, removed, confirmed or reviewed
    stays. Ends with 1 when some images could not be counted.
    """
    from celltally import zoo
    from celltally.batch.settings import Settings
    from celltally.project.counts import latest_counts
    from celltally.project.figures import level_of
    from celltally.project.study import locked

    planes = parse_planes(plane)
    with _writing(file) as store:
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
        chosen = None if not image else [e.id for name in image for e in _named(store, name)]
        if model is None and held is not None:
            name: str | Path = _model_of(held)
        elif model is None:
            newest = max(latest_counts(store), key=lambda c: c.id, default=None)
            name = zoo.DEFAULT_MODEL if newest is None else newest.model
        else:
            name = model
        loaded = zoo.load(name)
        if held is not None and loaded.sha256 != held.model_sha256:
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
    say(f"Counted {_images(counted)} with {loaded.name} ({loaded.sha256[:8]}).")
    if failed:
        raise typer.Exit(1)


def _model_of(held: Lock) -> str | Path:
    """Return where the model is that a study is locked to."""
    from celltally import zoo

    same = [record for record in zoo.available() if record.sha256 == held.model_sha256]
    for record in sorted(same, key=lambda r: r.name != held.model):
        return record.path or record.name
    raise UserError(
        f"the study is locked to the model {held.model!r} ({held.model_sha256[:8]}), which is not "
        "among the models here; give its folder with --model, or unlock the study"
    )


def _named(store: Store, name: str) -> list[ImageEntry]:
    """Images of a name."""
    from celltally.project.images import all_images

    entries = all_images(store)
    found = [e for e in entries if e.name == name or str(e.path) == name]
    found = found or [e for e in entries if Path(e.name).stem == name]
    if not found:
        some = ", ".join(entry.name for entry in entries[:5]) or "no image"
        more = f" and {len(entries) - 5} more" if len(entries) > 5 else ""
        raise UserError(f"{store.path.name} has no image {name!r}; it has {some}{more}")
    return found


# ---- looking ----


@_command("table study.celltally --out study.xlsx")
def table(
    file: File,
    out: Annotated[
        Path | None, typer.Option(help="Write it: one tidy .csv, or .xlsx with groups and log.")
    ] = None,
    by: By = None,
    value: Annotated[
        str, typer.Option(help="What groups are of: count, cells_per_mm2 or n_dots.")
    ] = "count",
    as_json: AsJson = False,
) -> None:
    """Show or write the corrected counts of every image.

    With --by the means of groups, with n = replicates: fields of a replicate are averaged
    first.
    """
    values = ("count", "cells_per_mm2", "n_dots")
    if value not in values:
        raise UserError(f"groups cannot be of {value!r}; valid: {', '.join(values)}")
    suffix = "" if out is None else out.suffix.lower()
    if out is not None and suffix not in (".csv", ".xlsx"):
        raise UserError(f"{out} cannot be written: give a name that ends in .csv or .xlsx")
    from celltally.project.figures import level_of
    from celltally.project.study import groups

    with _reading(file) as store:
        study = _rows(store)
        columns = _columns(by, study)
        found = groups(study, columns, value=value, level=level_of(store))  # type: ignore[arg-type]
        if out is not None and suffix == ".xlsx":
            from celltally.project.history import history
            from celltally.project.methods import methods
            from celltally.project.sheet import write_excel

            text = methods(store, study)
            write_excel(out, study, groups=found, methods=text, log=history(store))
    if out is not None and suffix == ".csv":
        from celltally.project.sheet import write_csv

        write_csv(out, study)
    if as_json:
        from celltally.project.sheet import records

        print_json(records(study) if by is None else [_group(group) for group in found])
    elif out is not None:
        say(f"Wrote {out}.")
    elif by is None:
        _print_study(study)
    else:
        _print_groups(found)


def _columns(by: str | None, study: Sequence[StudyRow]) -> list[str]:
    """Return what is grouped by; left out, the condition, where one is known."""
    if by is None:
        return ["condition"] if any(row.entry.condition for row in study) else []
    names = [name.strip() for name in by.split(",") if name.strip()]
    from celltally.project.images import COLUMNS

    known = list(dict.fromkeys([*COLUMNS, *(k for row in study for k in row.entry.further)]))
    for name in names:
        if name not in known:
            raise UserError(
                f"there is no column {name!r} to group by; there are {', '.join(known)}"
            )
    return names


def _group(group: Group) -> dict[str, Any]:
    return {"label": group.label, "n": group.n, **asdict(group)}


def _rows(store: Store) -> list[StudyRow]:
    """Rows of a project that is open for reading, with figures as they are now."""
    from celltally.project.figures import iter_refresh
    from celltally.project.study import rows

    fresh = follow(iter_refresh(store), "working out", _draw)
    return rows(store, fresh=fresh)


def _print_study(study: Sequence[StudyRow]) -> None:
    shown = []
    for row in study:
        f = row.figures
        plate = " ".join(part for part in (row.entry.plate, row.entry.well) if part)
        shown.append(
            [
                row.label,
                plate,
                row.entry.condition,
                row.entry.replicate,
                _number(f.count),
                _interval(f.interval),
                str(f.n_dots),
                f"{100 * f.reviewed_share:.0f} %",
                _number(row.cells_per_mm2),
                "; ".join(row.flags),
            ]
        )
    heads = ("image", "well", "condition", "replicate", "count", "interval", "dots")
    print_table((*heads, "reviewed", "per mm²", "flags"), shown)


def _print_groups(found: Sequence[Group]) -> None:
    rows = [
        [
            group.label,
            f"{group.n} {group.unit}{'s' * (group.n != 1)}",
            _number(group.mean),
            _number(group.sd),
            "" if math.isnan(group.low) else f"{group.low:.1f}–{group.high:.1f}",
            str(group.images),
        ]
        for group in found
    ]
    print_table(("group", "n", "mean", "sd", "interval of the mean", "images"), rows)


def _interval(interval: Interval) -> str:
    if math.isnan(interval.low):
        return interval.kind
    kind = "" if interval.kind == "calibrated" else f" ({interval.kind})"
    return f"{interval.low:.1f}–{interval.high:.1f}{kind}"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1f}"


@_command("log study.celltally --last 20")
def log(
    file: File,
    image: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only what was done to this image.")
    ] = None,
    last: Annotated[int | None, typer.Option(min=1, metavar="N", help="The newest N only.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell who did what, and when (UTC)."""
    from celltally.project.history import history

    with _reading(file) as store:
        numbers = [None] if image is None else [entry.id for entry in _named(store, image)]
        entries = [entry for number in numbers for entry in history(store, number, last=last)]
    entries = sorted(entries, key=lambda entry: entry.seq)[-(last or len(entries)) :]
    if as_json:
        print_json([{**asdict(entry), "detail": dict(entry.detail)} for entry in entries])
        return
    rows = [
        [
            entry.made[:19].replace("T", " "),
            entry.author,
            entry.image,
            entry.what,
            str(entry.changes or ""),
        ]
        for entry in entries
    ]
    print_table(("when", "who", "image", "what", "changes"), rows)


@_command("methods study.celltally")
def methods(file: File) -> None:
    """Write a paragraph for the methods section of a paper."""
    from celltally.project.methods import methods as paragraph

    with _reading(file) as store:
        print(paragraph(store, _rows(store)))


@_command("check study.celltally")
def check(file: File) -> None:
    """Check that the file is whole, and that the images are in their places.

    Ends with 1 when the file is damaged.
    """
    from celltally.project.images import all_images
    from celltally.project.study import missing_files

    with _reading(file) as store:
        wrong = store.check()
        entries = [] if wrong else all_images(store)
    for line in wrong:
        failure(f"{file}: {line}")
    if wrong:
        raise typer.Exit(1)
    missing = missing_files(entries)
    say(f"{file} is whole: {_images(len(entries))}, {len(missing)} of them not in their places.")
    for entry in entries:
        if entry.id in missing:
            say(f"{entry.path} is missing; say where to look with 'celltally project find'.")


# ---- the lock ----


@_command("lock study.celltally --model general --diameter 14")
def lock(
    file: File,
    model: Annotated[
        str | None,
        typer.Option(help="A model's name or folder; left out, the one that counted most."),
    ] = None,
    diameter: Annotated[
        str | None,
        typer.Option(
            metavar="PX|any",
            help="Cell diameter in pixels; left out, that of all counts, if it is the same.",
        ),
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="T|as-counted",
            help="Least score of a dot; as-counted for the one that makes dots ≈ count.",
        ),
    ] = None,
    level: Annotated[
        float | None, typer.Option(help="Level of the intervals; left out, the project's.")
    ] = None,
) -> None:
    """Fix model, diameter and threshold of a study: what is counted otherwise is marked."""
    from celltally.project.figures import level_of
    from celltally.project.study import Lock, rows, suggested_lock
    from celltally.project.study import lock as lock_study

    given_diameter = _or_word(diameter, "any", "diameter")
    given_threshold = _or_word(threshold, "as-counted", "threshold")
    with _writing(file) as store:
        suggested = suggested_lock(store)
        if model is not None:
            from celltally import zoo
            from celltally.record import CALIBRATION, read_record

            record = read_record(zoo.find(model))
            same = suggested is not None and suggested.model_sha256 == record.sha256
            base = suggested if same and suggested is not None else None
            wanted = Lock(
                record.name,
                record.sha256,
                record.files.get(CALIBRATION, ""),
                diameter_px=None if base is None else base.diameter_px,
                threshold=None if base is None else base.threshold,
            )
        elif suggested is not None:
            wanted = suggested
        else:
            raise UserError(
                f"nothing in {file.name} was counted yet: name the model with --model, or count"
            )
        changes: dict[str, Any] = {"level": level_of(store) if level is None else level}
        if diameter is not None:
            changes["diameter_px"] = given_diameter
        if threshold is not None:
            changes["threshold"] = given_threshold
        made = lock_study(store, Lock(**(asdict(wanted) | changes)))
        marked = sum(
            any(flag.startswith(("counted", "other", "threshold")) for flag in row.flags)
            for row in rows(store, missing=())
        )
    were = "count was" if marked == 1 else "counts were"
    say(f"Locked to {made.text}; {marked} {were} made otherwise.")


def _or_word(text: str | None, word: str, what: str) -> float | None:
    """Return a number, or None for a word."""
    if text is None or text.strip().lower() == word:
        return None
    try:
        return float(text)
    except ValueError:
        raise UserError(
            f"a {what} of {text!r} cannot be used: give a number, or {word!r}"
        ) from None


@_command("unlock study.celltally")
def unlock(file: File) -> None:
    """Take the lock off."""
    from celltally.project.study import locked
    from celltally.project.study import unlock as unlock_study

    with _writing(file) as store:
        held = locked(store)
        unlock_study(store)
    say("It was not locked." if held is None else f"Unlocked; it was locked to {held.text}.")


# ---- for learning ----


@_command("dataset study.celltally --out my_cells/")
def dataset(
    file: File,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to make.")],
    name: Annotated[str | None, typer.Option(help="Of the data set; else the folder's.")] = None,
) -> None:
    """Write what was reviewed as a data set folder, to learn from.

    Ends with 1 when some reviewed images could not be read; the others are there.
    """
    from celltally.project.dataset import iter_export

    with _reading(file) as store:
        made = follow(iter_export(store, out, name=name), "writing", _draw)
    planes = f"{made.images} plane{'s' * (made.images != 1)}"
    regions = f"{made.regions} region{'s' * (made.regions != 1)}"
    say(f"Wrote {made.folder}: {planes}, {regions}, {made.dots} dots.")
    for sentence in made.missing:
        failure(sentence)
    if made.missing:
        raise typer.Exit(1)


# ---- files ----


@contextmanager
def _writing(file: Path) -> Iterator[Store]:
    """Open a project to change it; it must be there."""
    from celltally.project.store import Store

    if not file.exists():
        raise UserError(f"{file} does not exist; make it with 'celltally project new {file}'")
    with Store(file) as store:
        yield store


@contextmanager
def _reading(file: Path) -> Iterator[Store]:
    """Open a project to look at it: another program may have it open."""
    from celltally.project.store import Store

    with Store(file, read_only=True) as store:
        yield store


def _draw(draw: Callable[..., None], step: Progress) -> None:
    draw(step)


def _images(n: int) -> str:
    return f"{n} image{'s' * (n != 1)}"
