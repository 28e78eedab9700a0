"""From YAML text to plain values: as people mean it, and with nothing in it that a stranger could do harm with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..core.errors import UserError, did_you_mean

MOST_BYTES = 250_000
"""A config is written by hand: ten thousand seeds take 60,000 bytes. Reading this much takes two seconds."""
MOST_VALUES = 100_000
"""Values in a config with its aliases written out: a few hundred characters of aliases of aliases stand for billions."""
DEEPEST = 50
"""Levels of nesting, far from where Python's own limit would be hit."""


class _Loader(yaml.SafeLoader):
    """YAML as people mean it: `1e-4` is a number, and a key written twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' is written twice", key_node.start_mark)
            seen.add(key if isinstance(key, str | int) else repr(key))
        return super().construct_mapping(node, deep)


def read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; UserError if there is none."""
    try:
        with path.open("rb") as file:
            found = file.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        beside = [str(other) for other in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        raise UserError(f"{path}: there is no such config{did_you_mean(path, beside)}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    if len(found) > MOST_BYTES:
        raise UserError(f"{path}: has more than {MOST_BYTES:,} bytes; is this a config?")
    try:
        text = found.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    written = parse(text, where=str(path))
    if not isinstance(written, dict):
        raise UserError(f"{path}: a config is a mapping of keys to values, this is a {type(written).__name__}")
    return written


def parse(text: str, *, where: str) -> Any:
    """The plain values that YAML text stands for; UserError naming where it came from if it is broken or a bomb."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_bombs(node, {})
        return loader.construct_document(node)
    except RecursionError as error:
        raise UserError(f"{where}: not valid YAML: nested deeper than {DEEPEST} levels") from error
    except Exception as error:  # PyYAML meets a tag that does not fit its value (`!!int ''`) with whatever error comes up
        raise UserError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from error


def _refuse_bombs(node: yaml.Node, sizes: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """How many values and levels a node stands for, its aliases written out; YAMLError if that is too many or without an end.

    An alias is the very node it stands for, so each is counted once and costs as often as it is used.
    """
    if id(node) in sizes:
        if sizes[id(node)] is None:
            _refuse(node, "an alias stands within what it stands for")
        return sizes[id(node)]
    sizes[id(node)] = None
    inner = []
    if isinstance(node, yaml.ScalarNode):
        if any("\ud800" <= character <= "\udfff" for character in node.value):
            _refuse(node, "half a character (a lone surrogate)")
    else:
        parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        inner = [_refuse_bombs(part, sizes) for part in parts]
    values, levels = 1 + sum(count for count, _ in inner), 1 + max((depth for _, depth in inner), default=0)
    if values > MOST_VALUES:
        _refuse(node, f"more than {MOST_VALUES:,} values, aliases written out")
    if levels > DEEPEST:
        _refuse(node, f"nested deeper than {DEEPEST} levels")
    sizes[id(node)] = (values, levels)
    return sizes[id(node)]


def _refuse(node: yaml.Node, what: str) -> None:
    raise yaml.constructor.ConstructorError(None, None, what, node.start_mark)
