"""Parts by name: generators, policies, curations, metrics, data sets, feature models and shows are found as entry points.

Built-in and third-party parts are found the same way and imported only when used. A part is a dataclass; its fields are
its settings, checked by pydantic. In a config it is written `{use: name, setting: value}`, or just `name`; `use` may also
be `module:Class` for code that is not installed as an entry point.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from ..core.canonical_json import canonical_json
from ..core.errors import UserError, did_you_mean, short_repr
from .renames import current_component, recipe_component

Found = TypeVar("Found")


NEEDED = {
    "generator": ("version", "modality", "columns", "fit", "sample", "save", "load"),
    "data": ("version", "modality", "load"),
    "policy": ("version", "__call__"),
    "curation": ("version", "share", "__call__"),
    "metric": ("version", "outputs", "__call__"),
    "features": ("version", "fit", "save", "load", "__call__"),
}
"""What a class of each kind has, whatever its settings; the Protocols say what it means."""


class SettingError(UserError):
    """A fault in one of a part's settings; every line of its message starts with the path of the setting."""


@cache
def registered(kind: str) -> Mapping[str, EntryPoint]:
    """The entry points of a kind, by name."""
    return {point.name: point for point in entry_points(group=f"autophagy.{kind}")}


def find(kind: str, use: str) -> type:
    """The class called `use`; UserError with the nearest known name if there is none."""
    if ":" in use:
        module_name, _, attribute = use.partition(":")
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())  # as `python -m` would find it
        try:
            found = getattr(importlib.import_module(module_name), attribute)
        except (Exception, SystemExit) as error:  # importing runs the module, so anything may come of it
            raise UserError(f"'{use}' cannot be imported: {type(error).__name__}: {error}") from error
        if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
            raise UserError(f"'{use}' is not a dataclass; a {kind} is one whose fields are its settings")
        if machine_fault := [name for name in NEEDED[kind] if not any(name in vars(parent) for parent in found.__mro__)]:
            raise UserError(f"'{use}' has no `{machine_fault[0]}`; a {kind} has {', '.join(NEEDED[kind])}")
        return found
    points = registered(kind)
    if use not in points:
        raise UserError(f"there is no {kind} called '{use}'{did_you_mean(use, points)}")
    return points[use].load()


@dataclass(frozen=True)
class ComponentSpec:
    """A part as the config names it: which, and with which settings (all of them, defaults included)."""

    kind: str
    use: str
    settings: Mapping[str, Any]

    @classmethod
    def parse(cls, kind: str, written: Any) -> ComponentSpec:
        """From `name` or `{use: name, ...}`; UserError otherwise."""
        if isinstance(written, str):
            written = {"use": written}
        if not isinstance(written, Mapping):
            raise UserError(f"a {kind} is written as a name or as {{use: name, ...}}, not as {short_repr(written)}")
        settings = dict(written)
        use = settings.pop("use", None)
        if not isinstance(use, str):
            raise UserError(f"`use` says which {kind}; known: {', '.join(sorted(registered(kind)))}")
        use, settings = current_component(kind, use, settings)
        complete = dataclasses.asdict(_instance(find(kind, use), settings))
        try:
            canonical_json(complete, where=use)
        except ValueError as error:
            raise UserError(str(error)) from error
        return cls(kind, use, complete)

    def build(self) -> Any:
        """A new instance."""
        return _instance(find(self.kind, self.use), self.settings)

    def but(self, changes: Mapping[str, Any]) -> ComponentSpec:
        """The same part with some settings changed, nested ones merged."""
        return ComponentSpec.parse(self.kind, {"use": self.use, **merged(self.settings, changes)})

    @property
    def recipe(self) -> dict[str, Any]:
        """What goes into a key: name, version and all settings."""
        use, settings = recipe_component(self.kind, self.use, self.settings)
        return {"use": use, "version": find(self.kind, self.use).version, **settings}

    @property
    def written(self) -> dict[str, Any]:
        """As it would be written in a config, in full."""
        return {"use": self.use, **self.settings}


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`old` with the values of `new`, mappings merged key by key."""
    both = dict(old)
    for key, value in new.items():
        nested = isinstance(value, Mapping) and isinstance(both.get(key), Mapping)
        both[key] = merged(both[key], value) if nested else value
    return both


def _instance(part: type, settings: Mapping[str, Any]) -> Any:
    _refuse_unknown(part, settings, "")
    try:
        return checker(part).validate_python(dict(settings))
    except ValidationError as error:
        raise SettingError("\n".join(explain(error))) from error
    except PydanticUserError as error:
        raise UserError(f"'{part.__name__}' has settings that cannot be checked: {error.message}") from error


@cache
def checker(part: type) -> TypeAdapter:
    """What checks the settings of a part; dear to make."""
    return TypeAdapter(part)


def explain(error: ValidationError) -> list[str]:
    """One line per fault: `path.to.key: what is wrong`."""
    lines = []
    for fault in error.errors():
        path = ".".join(str(step) for step in fault["loc"])
        cause = fault.get("ctx", {}).get("error")
        message = str(cause) if isinstance(cause, ValueError) else fault["msg"]
        if not isinstance(cause, ValueError) and fault["type"] != "missing":
            message += f", not {short_repr(fault['input'])}"
        between = "." if isinstance(cause, SettingError) else ": "
        lines += [f"{path}{between}{line}" if path else line for line in message.splitlines()]
    return lines


def under(key: str, parse: Callable[[], Found]) -> Found:
    """What `parse` gives; a UserError of it comes out as a SettingError whose lines start with `key`."""
    try:
        return parse()
    except UserError as error:
        between = "." if isinstance(error, SettingError) else ": "
        raise SettingError("\n".join(f"{key}{between}{line}" for line in str(error).splitlines())) from error


def _refuse_unknown(part: type, settings: Mapping[str, Any], where: str) -> None:
    """pydantic ignores unknown keys of dataclasses it does not own; a setting that does nothing is an error here."""
    fields = {field.name for field in dataclasses.fields(part) if field.init}
    hints = typing.get_type_hints(part)  # what a part inherits is looked up where it was written
    for key, value in settings.items():
        if key not in fields:
            raise SettingError(f"{where}{key}: unknown setting{did_you_mean(key, fields)}")
        for kind in (hints[key], *typing.get_args(hints[key])):  # itself, or one of those that `A | None` names
            if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
                _refuse_unknown(kind, value, f"{where}{key}.")
