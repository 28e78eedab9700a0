"""Registry: finds components (generators, policies, curations, metrics, data sets, feature models) by name.

All components, built-in and third-party, are entry points and are imported on first use. A component is a dataclass. Its
fields are its settings, which pydantic validates. A config writes a component as `{use: name, setting: value}` or just as
`name`. For code that is not installed as an entry point, `use` may be `module:Class`.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import os
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from ..core.canonical_json import canonical_json
from ..core.errors import UserError, did_you_mean, short_repr
from .renames import current_component, recipe_component

T = TypeVar("T")

REQUIRED_MEMBERS = {
    "generator": ("version", "modality", "columns", "fit", "sample", "save", "load"),
    "data": ("version", "modality", "load"),
    "policy": ("version", "__call__"),
    "curation": ("version", "expected_keep_rate", "__call__"),
    "metric": ("version", "outputs", "__call__"),
    "features": ("version", "fit", "save", "load", "__call__"),
}
"""For each kind of component, the attributes that its classes must have. The Protocols in `components` define their meaning."""


class SettingError(UserError):
    """Invalid setting of a component. Every line of the message starts with the path of the setting."""


@cache
def registered(kind: str) -> Mapping[str, EntryPoint]:
    """Return the installed entry points of a kind (`generator`, `policy`, ...) by name."""
    return {point.name: point for point in entry_points(group=f"autophagy.{kind}")}


def find(kind: str, use: str) -> Any:
    """Return the component class with the name `use`. Raises UserError, with the most similar known name, if none exists."""
    if ":" in use:
        return _import_class(kind, use)
    points = registered(kind)
    if use not in points:
        raise UserError(f"there is no {kind} called '{use}'{did_you_mean(use, points)}")
    return points[use].load()


def _import_class(kind: str, use: str) -> type:
    """Import `module:Class`. Raises UserError if the import fails or the class is not a component of this kind."""
    module_name, _, attribute = use.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # as `python -m` does
    try:
        component = getattr(importlib.import_module(module_name), attribute)
    except (Exception, SystemExit) as error:  # importing runs the module, which can raise anything
        raise UserError(f"'{use}' cannot be imported: {type(error).__name__}: {error}") from error
    if not (isinstance(component, type) and dataclasses.is_dataclass(component)):
        raise UserError(f"'{use}' is not a dataclass; a {kind} must be a dataclass whose fields are its settings")
    missing = [name for name in REQUIRED_MEMBERS[kind] if not any(name in vars(parent) for parent in component.__mro__)]
    if missing:
        raise UserError(f"'{use}' has no `{missing[0]}`; a {kind} needs {', '.join(REQUIRED_MEMBERS[kind])}")
    return component


def description(point: EntryPoint) -> str:
    """Return the first line of a component's docstring, or an empty string if the component has no docstring.

    The line is read from the source file, without an import. If the module is missing or broken, the returned text says so.
    Thus one broken plug-in does not hide the others.
    """
    try:
        tree = _syntax_tree(point.module)
        if tree is None:  # the module has no Python source: it is compiled or generated
            return (point.load().__doc__ or "").strip().partition("\n")[0]
    except Exception as error:  # importing runs the module, which can raise anything
        return f"cannot be loaded: {type(error).__name__}: {error}"
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == point.attr:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


@cache
def _syntax_tree(module: str) -> ast.Module | None:
    """Parse the source of a module. Returns None if the module has no Python source file."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return ast.parse(Path(spec.origin).read_bytes())


@dataclass(frozen=True)
class ComponentSpec:
    """A component of a config: its kind, its name and all of its settings, including defaults."""

    kind: str
    use: str
    settings: Mapping[str, Any]

    @classmethod
    def parse(cls, kind: str, raw: Any) -> ComponentSpec:
        """Parse `name` or `{use: name, ...}`. Raises UserError if the name or a setting is invalid."""
        if isinstance(raw, str):
            raw = {"use": raw}
        if not isinstance(raw, Mapping):
            raise UserError(f"a {kind} is written as a name or as {{use: name, ...}}, not as {short_repr(raw)}")
        settings = dict(raw)
        use = settings.pop("use", None)
        if not isinstance(use, str):
            raise UserError(f"`use` must name a {kind}; known: {', '.join(sorted(registered(kind)))}")
        use, settings = current_component(kind, use, settings)
        complete = dataclasses.asdict(_instance(find(kind, use), settings))
        try:
            canonical_json(complete, where=use)
        except ValueError as error:
            raise UserError(str(error)) from error
        return cls(kind, use, complete)

    def build(self) -> Any:
        """Create a new instance of the component."""
        return type_adapter(find(self.kind, self.use)).validate_python(self.settings)

    def with_settings(self, changes: Mapping[str, Any]) -> ComponentSpec:
        """Return the same component with some settings changed. Nested settings are merged."""
        return ComponentSpec.parse(self.kind, {"use": self.use, **merge(self.settings, changes)})

    @property
    def recipe(self) -> dict[str, Any]:
        """Name, version and all settings of the component: its part of the JSON that is hashed to a cache key."""
        use, settings = recipe_component(self.kind, self.use, self.settings)
        return {"use": use, "version": find(self.kind, self.use).version, **settings}

    @property
    def config(self) -> dict[str, Any]:
        """The component in the form of a config, with all defaults."""
        return {"use": self.use, **self.settings}


def merge(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Update `old` with `new`. Values that are mappings in both are merged key by key."""
    result = dict(old)
    for key, value in new.items():
        nested = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merge(result[key], value) if nested else value
    return result


def _instance(component: type, settings: Mapping[str, Any]) -> Any:
    """Validate settings and create the component. Raises UserError for invalid settings."""
    _check_setting_names(component, settings, "")
    try:
        return type_adapter(component).validate_python(dict(settings))
    except ValidationError as error:
        raise SettingError("\n".join(error_lines(error))) from error
    except PydanticUserError as error:
        raise UserError(f"'{component.__name__}' has settings that pydantic cannot validate: {error.message}") from error


_adapters: dict[type, TypeAdapter[Any]] = {}


def type_adapter(component: type) -> TypeAdapter[Any]:
    """Return the pydantic validator of a component's settings. Validators are cached, because building one takes milliseconds."""
    if component not in _adapters:
        _adapters[component] = TypeAdapter(component)
    return _adapters[component]


def error_lines(error: ValidationError) -> list[str]:
    """Format each fault that pydantic found as one line: `path.to.key: message`."""
    lines = []
    for fault in error.errors():
        path = ".".join(str(step) for step in fault["loc"])
        cause = fault.get("ctx", {}).get("error")
        message = str(cause) if isinstance(cause, ValueError) else fault["msg"]
        if not isinstance(cause, ValueError) and fault["type"] != "missing":
            message += f", not {short_repr(fault['input'])}"
        separator = "." if isinstance(cause, SettingError) else ": "
        lines += [f"{path}{separator}{line}" if path else line for line in message.splitlines()]
    return lines


def prefix_errors(key: str, parse: Callable[[], T]) -> T:
    """Call `parse` and convert its UserError to a SettingError. Every line of the new message starts with `key`."""
    try:
        return parse()
    except UserError as error:
        separator = "." if isinstance(error, SettingError) else ": "
        raise SettingError("\n".join(f"{key}{separator}{line}" for line in str(error).splitlines())) from error


def _check_setting_names(component: type, settings: Mapping[str, Any], where: str) -> None:
    """Raise SettingError for an unknown setting. pydantic does not, because it ignores unknown keys of plain dataclasses."""
    nested = _settings_of(component)
    for key, value in settings.items():
        if key not in nested:
            raise SettingError(f"{where}{key}: unknown setting{did_you_mean(key, nested)}")
        if isinstance(value, Mapping):
            for inner in nested[key]:
                _check_setting_names(inner, value, f"{where}{key}.")


@cache
def _settings_of(component: type) -> Mapping[str, Sequence[type]]:
    """Map each setting of a dataclass to the dataclasses that are allowed as its value."""
    names = [field.name for field in dataclasses.fields(component) if field.init]
    hints = typing.get_type_hints(component)  # resolves inherited annotations in the module that declares them
    options = {name: (hints[name], *typing.get_args(hints[name])) for name in names}  # a type and, for a union, its members
    return {name: [kind for kind in kinds if isinstance(kind, type) and dataclasses.is_dataclass(kind)] for name, kinds in options.items()}
