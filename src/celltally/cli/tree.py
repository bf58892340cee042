"""Versions of models as a tree, for people and for programs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from celltally.cli._output import plain
from celltally.errors import UserError
from celltally.lineage import Version, errors_of, origin_of
from celltally.record import read_base

__all__ = ["print_tree", "version_facts"]


def print_tree(trees: Sequence[Version]) -> None:
    """Print versions below what they were made from: drawn on a terminal, else indented."""
    if not sys.stdout.isatty():
        for version in trees:
            _print_indented(version, 0)
        return
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    def add(to: Tree, version: Version) -> None:
        name, *rest = (plain(part) for part in _parts(version))
        text = Text.assemble((name, "bold" if version.there else "dim"), f"  {'  '.join(rest)}")
        below = to.add(text)
        for child in version.children:
            add(below, child)

    root = Tree("", hide_root=True)
    for version in trees:
        add(root, version)
    Console().print(root)


def version_facts(version: Version) -> dict[str, Any]:
    """Say of a version, and of those below it, what ``--json`` tells."""
    record = version.record
    learned = None if record is None else record.learned
    before, after = (None, None) if learned is None else errors_of(learned) or (None, None)
    return {
        "name": None if record is None else record.name,
        "sha256": version.sha256,
        "there": version.there,
        "date": _date(version) or None,
        "project": None if learned is None else learned.project,
        "by": None if learned is None else list(learned.by),
        "images": None if learned is None else learned.images,
        "regions": None if learned is None else learned.regions,
        "stated": None if learned is None else learned.stated,
        "dots": None if learned is None else learned.dots,
        "error_before": before,
        "error_after": after,
        "helped": None if learned is None else learned.helped,
        "firm": None if learned is None else learned.is_firm,
        "base": _base(version),
        "path": str(record.path) if record is not None and version.there else None,
        "children": [version_facts(child) for child in version.children],
    }


def _print_indented(version: Version, depth: int) -> None:
    print("  " * depth + "\t".join(plain(part) for part in _parts(version)))
    for child in version.children:
        _print_indented(child, depth + 1)


def _parts(version: Version) -> list[str]:
    """Return what is told of a version: name, identity, date, origin, figures."""
    record = version.record
    parts = ["no longer there" if record is None else record.name, version.sha256[:12]]
    if record is None:
        return parts
    parts += [_date(version), origin_of(record)]
    if record.learned is not None and (errors := errors_of(record.learned)):
        before, after = errors
        parts.append(f"error {'' if before is None else f'{before:.3g} → '}{after:.3g}")
    if not version.there:
        parts.append("no longer there")
    return parts


def _date(version: Version) -> str:
    record = version.record
    if record is None:
        return ""
    when = record.created if record.learned is None else record.learned.date
    return when[:16].replace("T", " ")


def _base(version: Version) -> str | None:
    """Identity of the model that counts what a version did not learn."""
    if version.record is None:
        return None
    try:
        base = read_base(version.record)
    except UserError:
        return None  # it is told when the model is loaded
    return None if base is None else base.sha256
