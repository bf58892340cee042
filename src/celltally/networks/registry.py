"""Networks by name: a decorator registers a family, a lookup names the valid ones."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, asdict, fields
from importlib import import_module
from typing import Any, TypeVar

from celltally.errors import UserError
from celltally.networks.base import CountingNetwork
from celltally.scale import MARGIN

__all__ = ["build", "config_of", "names", "parse_settings", "register"]

Family = TypeVar("Family", bound=type[CountingNetwork])

#: Files of this package that hold a family each; importing one registers it.
FAMILY_MODULES = ("countxplain", "csrnet", "decoupled", "fpn_counter", "patch_regression", "tally")

_families: dict[str, type[CountingNetwork]] = {}


def register(name: str) -> Callable[[Family], Family]:
    """Register a network class under a name.

    Raises
    ------
    ValueError
        When another class already has the name.
    """

    def add(family: Family) -> Family:
        known = _families.get(name)
        if known is not None and _path(known) != _path(family):
            raise ValueError(f"the network name {name!r} is taken by {_path(known)}")
        _families[name] = family
        return family

    return add


def names() -> list[str]:
    """Names of all registered families, sorted."""
    _load()
    return sorted(_families)


def build(name: str, config: Mapping[str, Any] | None = None) -> CountingNetwork:
    """Build a network with random weights from its name and config.

    Parameters
    ----------
    name
        A registered name.
    config
        Fields of the family's config dataclass; missing ones take their default.

    Raises
    ------
    UserError
        For an unknown name or config key (the sentence lists the valid ones), or
        for settings that fit no network.
    """
    _load()
    if name not in _families:
        raise UserError(f"there is no network {name!r}; choose one of: {', '.join(names())}")
    family = _families[name]
    known = {f.name: f for f in fields(family.config_type)}
    given = dict(config or {})
    if unknown := sorted(set(given) - set(known)):
        raise UserError(
            f"the network {name!r} has no setting {unknown[0]!r}; valid: {', '.join(known)}"
        )
    for key, value in given.items():  # JSON has no tuples
        default = known[key].default
        if isinstance(value, list) and (default is MISSING or isinstance(default, tuple)):
            given[key] = tuple(value)
        if default is not MISSING and not _is_like(given[key], default):
            raise UserError(
                f"the network {name!r} cannot have {value!r} as {key!r}: give a value such as "
                f"{json.dumps(default)}"
            )
    try:
        network = family(family.config_type(**given))
        if network.halo is not None and MARGIN % network.multiple:
            raise ValueError(f"its scales ask for multiples of {network.multiple} px")
        return network
    except (TypeError, ValueError, RuntimeError, LookupError, ArithmeticError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"these settings make no network {name!r} ({reason}); mend them") from None


def _is_like(value: Any, default: Any) -> bool:
    """Whether a setting is of its default's type; whole numbers are numbers as well."""
    if isinstance(default, tuple):
        return isinstance(value, tuple) and all(_is_like(v, d) for v in value for d in default[:1])
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, type(default))


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """Config of a network from ``NAME=VALUE``; a value is JSON, else a text.

    Raises
    ------
    UserError
        For a text that has no name or no ``=``.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UserError(
                f"the setting {text!r} cannot be used: give NAME=VALUE, such as width=0.25"
            )
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
    return settings


def config_of(network: CountingNetwork) -> dict[str, Any]:
    """Config of a network as JSON can hold it."""
    return asdict(network.config)  # type: ignore[call-overload, no-any-return]


def name_of(network: CountingNetwork) -> str:
    """Name under which the network's class is registered."""
    for name, family in _families.items():
        if type(network) is family:
            return name
    raise ValueError(f"{type(network).__qualname__} is not registered")


def _path(family: type[CountingNetwork]) -> str:
    """Where a class is written; a reloaded module's class is still the same one."""
    return f"{family.__module__}.{family.__qualname__}"


def _load() -> None:
    for module in FAMILY_MODULES:
        import_module(f"celltally.networks.{module}")
