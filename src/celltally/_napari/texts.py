"""Numbers and sentences as the user reads them. Free of Qt."""

from __future__ import annotations

import math

from celltally.types import Interval

__all__ = [
    "amount",
    "cells",
    "dots",
    "interval_range",
    "interval_words",
    "number",
    "percent",
    "short",
]

#: Narrow no-break space, the thousands separator that no locale misreads.
SPACE = "\u202f"


def number(value: float) -> str:
    """Write a count without decimals: ``1 234``; a dash where there is none."""
    return "–" if not math.isfinite(value) else f"{round(value):,}".replace(",", SPACE)


def cells(value: float) -> str:
    """``1 234 cells``."""
    return f"{number(value)} {'cell' if round(value) == 1 else 'cells'}"


def amount(value: float) -> str:
    """Write a part of a count: ``12.3``, ``0.012``; whole from 100 on."""
    if abs(value) >= 99.95:
        return number(value)
    if abs(value) >= 0.95:
        return f"{value:.1f}"
    return f"{value:.2g}" if abs(value) >= 0.001 else "0.000"


def percent(level: float) -> str:
    """``95 %``; further digits only where they matter."""
    return f"{level * 100:.10g}{SPACE}%"


def interval_range(interval: Interval) -> str:
    """``1 190 – 1 280``, or words where the model gives no interval."""
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return "no interval"
    return f"{number(interval.low)} – {number(interval.high)}"


def interval_words(interval: Interval) -> str:
    """Say what an interval that is not calibrated means; empty for a calibrated one."""
    if interval.kind == "calibrated":
        return ""
    if interval.kind == "exact":
        return "Exact: every cell was reviewed."
    head = "Provisional interval" if interval.kind == "provisional" else "Interval not calibrated"
    return f"{head}: {interval.reason}." if interval.reason else f"{head}."


def dots(n_dots: int, count: float) -> str:
    """How many dots there are, and how that compares with the count."""
    gap = n_dots - round(count)
    if n_dots == gap == 0:
        return "No dots."
    compared = f"{number(abs(gap))} {'more' if gap > 0 else 'fewer'} than counted"
    word = "dot" if n_dots == 1 else "dots"
    return f"{number(n_dots)} {word}, {compared if gap else 'as many as counted'}."


def short(name: str, length: int) -> str:
    """Shorten a name in its middle where it is too long to show."""
    if len(name) <= length:
        return name
    head = (length - 1) * 2 // 3
    return f"{name[:head]}…{name[-(length - 1 - head) :]}"
