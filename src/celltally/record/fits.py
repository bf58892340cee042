"""Whether what was read from JSON is of the types that a dataclass is annotated with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

__all__ = ["fits"]


def fits(value: Any, hint: Any) -> bool:
    """Whether what JSON holds is of the type that a field is annotated with."""
    if hint is float:  # most of what there is
        return isinstance(value, int | float) and not isinstance(value, bool)
    arguments = get_args(hint)
    if get_origin(hint) is UnionType:
        return any(fits(value, part) for part in arguments)
    if get_origin(hint) is Mapping:
        return isinstance(value, dict) and all(fits(v, arguments[1]) for v in value.values())
    if get_origin(hint) is Literal:
        return value in arguments
    if get_origin(hint) is tuple:
        return (
            isinstance(value, list)
            and (arguments[-1] is Ellipsis or len(value) == len(arguments))
            and all(fits(v, arguments[0]) for v in value)
        )
    if is_dataclass(hint):
        types = _types_of(hint)
        needed = {
            f.name for f in fields(hint) if f.default is MISSING and f.default_factory is MISSING
        }
        return (
            isinstance(value, dict)
            and needed <= set(value) <= set(types)
            and all(fits(value[name], types[name]) for name in value)
        )
    if isinstance(value, bool) or hint is Any:
        return hint in (bool, Any)
    return isinstance(value, hint)


#: Annotations of a dataclass's fields; read from their text once, not for every value.
_types_of: Callable[[Any], dict[str, Any]] = cache(get_type_hints)
