"""Safe YAML loader. Rejects Python objects, duplicate keys and files whose aliases expand to huge values."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import yaml

from ..core.errors import UserError, did_you_mean

MAX_BYTES = 250_000
"""Largest size of a config file in bytes. Parsing 250,000 bytes takes two seconds. Ten thousand seeds take 60,000 bytes."""
MAX_VALUES = 100_000
"""Largest number of values in a config after aliases are expanded. A few hundred bytes of nested aliases can expand to billions."""
MAX_DEPTH = 50
"""Largest depth of nesting. It is well below Python's recursion limit."""


class _Loader(yaml.SafeLoader):
    """SafeLoader that rejects duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' is written twice", key_node.start_mark)
            seen.add(key if isinstance(key, str | int) else repr(key))
        return super().construct_mapping(node, deep)


def load_yaml(path: Path) -> dict[str, Any]:
    """Load a mapping from a YAML file. Raises UserError if the file cannot be read or does not contain a mapping."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        siblings = [str(other) for other in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        raise UserError(f"{path}: this config file does not exist{did_you_mean(path, siblings)}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    if len(content) > MAX_BYTES:
        raise UserError(f"{path}: is larger than {MAX_BYTES:,} bytes, the limit for a config; check that this is a config file")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    config = parse_yaml(text, where=str(path))
    if not isinstance(config, dict):
        raise UserError(f"{path}: a config must be a mapping of keys to values, not a {type(config).__name__}")
    return config


def parse_yaml(text: str, *, where: str) -> Any:
    """Parse YAML text to plain values. Raises UserError, starting with `where`, if the text is invalid or too large when expanded."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check_size(node, {})
        return loader.construct_document(node)
    except RecursionError as error:
        raise UserError(f"{where}: not valid YAML: nested deeper than {MAX_DEPTH} levels") from error
    except Exception as error:  # PyYAML raises arbitrary errors for tags that do not fit their value (`!!int ''`)
        raise UserError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from error


def _check_size(node: yaml.Node, sizes: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """Count the values and the levels below a node, with aliases expanded. Raises YAMLError for cycles and above the limits.

    An alias is the same node object as its anchor. So each node is visited once and its size is reused.
    """
    if id(node) in sizes:
        known = sizes[id(node)]
        if known is None:
            _reject(node, "an alias refers to a value that contains it")
        return known
    sizes[id(node)] = None
    inner = []
    if isinstance(node, yaml.ScalarNode):
        if any("\ud800" <= character <= "\udfff" for character in node.value):
            _reject(node, "contains half of a character (a lone surrogate)")
    else:
        children = [child for pair in node.value for child in pair] if isinstance(node, yaml.MappingNode) else node.value
        inner = [_check_size(child, sizes) for child in children]
    size = 1 + sum(count for count, _ in inner), 1 + max((depth for _, depth in inner), default=0)
    if size[0] > MAX_VALUES:
        _reject(node, f"more than {MAX_VALUES:,} values after aliases are expanded")
    if size[1] > MAX_DEPTH:
        _reject(node, f"nested deeper than {MAX_DEPTH} levels")
    sizes[id(node)] = size
    return size


def _reject(node: yaml.Node, reason: str) -> NoReturn:
    """Raise an error with the line and column of a node."""
    raise yaml.constructor.ConstructorError(None, None, reason, node.start_mark)
