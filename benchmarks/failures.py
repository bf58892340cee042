r"""Where counting networks fail: cells that overlap, irregular cells, images out of focus.

    python benchmarks/failures.py --data D --models general,bbbc039=u2os-hoechst,csrnet-u2os \
        --show general,csrnet-u2os --out build/failures --docs docs/failures.md

The three cases are those of Hernández, Sultan & Pande 2018. Overlap and shape are measured
on the masks of `bbbc039`, focus on `bbbc005` and on blurred images of `bbbc039`. A model is
judged on those of the two sets that it has learned from, or on the one before its name.
What was counted is kept in `--out`, so a stopped run goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from errors_lib.command import names_in, new_parser, publish, run, say
from errors_lib.counted import Counter
from failures_lib import tables
from failures_lib.cases import Case, draw_focus, draw_overlap, draw_shape
from failures_lib.images import Images, unseen
from failures_lib.study import BLURS, by_level, compare, from_images, groups_by_shape

from celltally import zoo
from celltally.errors import UserError

#: The set with masks, and the one with levels of focus.
MASKS, FOCUS = "bbbc039", "bbbc005"
#: Models in a picture, unless they are named.
SHOWN = 3


def main(words: Sequence[str] | None = None) -> int:
    """Count what is missing and write everything; 2 for what cannot be used, 130 when stopped."""
    return run(_write, _parser(), words)


def _write(arguments: argparse.Namespace) -> None:
    """Write the tables of nuclei and of images, the pictures, and the document's texts."""
    judged = _judged(arguments)
    sets = {name: _images(arguments, name, counters) for name, counters in judged.items()}
    shown = _shown(arguments.show, judged[MASKS])
    top = arguments.out if arguments.docs is None else arguments.docs.parent
    texts = {"models": tables.model_table(_used(sets))}
    if masks := sets[MASKS]:
        texts |= _of_masks(masks, arguments.out)
        if shown and masks.pairs[0][0].is_cc0:
            case = Case(masks, shown, arguments.device, top / "images" / "failures")
            say(f"pictures of {', '.join(shown)}")
            for name, draw in (("overlap", draw_overlap), ("shape", draw_shape)):
                texts[name] += _link(draw(case), name)
            texts["blur"] += _link(draw_focus(case), "focus")
    if focus := sets[FOCUS]:
        say(f"{FOCUS}: {len(focus.pairs)} images with {', '.join(focus.counters)}")
        table = focus.focus_table()
        table.to_csv(arguments.out / "focus.csv", index=False)
        levels = sorted(table["level"].dropna().unique(), key=lambda level: int(level[1:]))
        found = {_name(m, focus): by_level(t, levels) for m, t in _by_model(table, focus).items()}
        texts["focus"] = tables.focus_table(found)
    publish(texts, arguments.docs, "failures")


def _of_masks(images: Images, out: Path) -> dict[str, str]:
    """Texts on overlap, shape and blur, from the set with masks."""
    say(f"{MASKS}: {len(images.pairs)} images with {', '.join(images.counters)}")
    nuclei, counts = images.nucleus_table, images.blur_table()
    nuclei.to_csv(out / "nuclei.csv", index=False)
    counts.to_csv(out / "blurs.csv", index=False)
    overlap, shape, blur = {}, {}, {}
    numbers: dict[str, int] = {}
    for model, table in _by_model(nuclei, images).items():
        name, here = _name(model, images), counts[counts["model"] == model]
        whole, touching = table["whole"].to_numpy(), table["touching"].to_numpy()
        alone, together = whole & ~touching, whole & touching
        groups = groups_by_shape(table)
        overlap[name] = compare(table, alone, together), from_images(here[here["level"] == 0])
        usual = groups["round"]
        shape[name] = {g: compare(table, usual, groups[g]) for g in ("irregular", "elongated")}
        blur[name] = by_level(here, BLURS)
        chosen = {"alone": alone, "touching": together, **groups}
        numbers = {group: int(rows.sum()) for group, rows in chosen.items()}
    n = len(images.pairs)
    return {
        "overlap": f"Nuclei of {n} images: {numbers['alone']} alone, {numbers['touching']} "
        f"touching.\n\n{tables.overlap_table(overlap)}",
        "shape": f"Nuclei that lie alone: {numbers['round']} round, {numbers['irregular']} "
        f"irregular, {numbers['elongated']} elongated.\n\n{tables.shape_table(shape)}",
        "blur": tables.blur_table(blur),
    }


def _by_model(table: pd.DataFrame, images: Images) -> dict[str, pd.DataFrame]:
    """Rows of each model, in the order that was asked for."""
    return {
        model: table[table["model"] == model].reset_index(drop=True) for model in images.counters
    }


def _name(model: str, images: Images) -> tuple[str, str]:
    """Model and family."""
    return model, images.counters[model].record.network


def _link(caption: str, name: str) -> str:
    return f"\n![{caption}](images/failures/{name}.png)\n" if caption else ""


def _used(sets: Mapping[str, Images | None]) -> list[tables.Used]:
    """Which models were judged on what."""
    used: dict[str, tables.Used] = {}
    for name, images in sets.items():
        if images is None:
            continue
        for model, counter in images.counters.items():
            row = used.setdefault(model, tables.Used(counter.record, {}))
            row.images[name] = len(images.pairs), images.chosen_by[model]
    return list(used.values())


def _judged(arguments: argparse.Namespace) -> dict[str, dict[str, Counter]]:
    """By set, then by its name, each model that is judged there.

    Raises
    ------
    UserError
        For models that are not there, that no set can judge, or of the same name.
    """
    judged: dict[str, dict[str, Counter]] = {MASKS: {}, FOCUS: {}}
    for word in names_in(arguments.models):
        name, _, model = word.rpartition("=")
        counter = Counter(zoo.find(model), arguments.out / "counted", arguments.device)
        learned = {trained.name for trained in counter.record.training_data}
        asked = [name] if name else [known for known in judged if known in learned]
        if not set(asked) <= set(judged) or not asked:
            raise UserError(
                f"--models {word} names no set that can judge it; it has learned from "
                f"{', '.join(sorted(learned)) or 'none'}: put {MASKS}= or {FOCUS}= before a model"
            )
        for known in asked:
            other = judged[known].setdefault(counter.record.name, counter)
            if other.folder != counter.folder:
                raise UserError(
                    f"{other.folder} and {counter.folder} are both called "
                    f"{counter.record.name!r}; give one of them"
                )
    return judged


def _images(
    arguments: argparse.Namespace, name: str, counters: dict[str, Counter]
) -> Images | None:
    """Images of a set; None where no model is judged there."""
    if not counters:
        return None
    pairs = unseen(arguments.data, name, names_in(arguments.parts), counters.values())
    return Images(name, tuple(pairs), counters)


def _shown(names: str, counters: Mapping[str, Counter]) -> list[str]:
    """Models that are drawn: those that are named, else the first ones of different families.

    Raises
    ------
    UserError
        When one is named that does not count the set with masks.
    """
    if unknown := [name for name in names_in(names) if name not in counters]:
        raise UserError(
            f"--show names {unknown[0]!r}, which does not count {MASKS}; choose among "
            f"{', '.join(counters) or 'none'}"
        )
    first: dict[str, str] = {}
    for name, counter in counters.items():
        first.setdefault(counter.record.network, name)
    return names_in(names) or list(first.values())[:SHOWN]


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__, Path("build/failures"))
    add = parser.add_argument
    add("--parts", default="val,train",
        help="parts of the sets; images that taught one of the models are left out")  # fmt: skip
    add("--models", default=zoo.DEFAULT_MODEL,
        help="names or folders, and set=model for one that is judged on this set only")  # fmt: skip
    add("--show", default="", help="names of the models in the pictures; by default three")
    return parser


if __name__ == "__main__":
    sys.exit(main())
