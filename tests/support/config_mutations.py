"""Creates random mutations of configs: mistakes of users and editors, and attacks. Equal numbers give equal mutations."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

NUMBERS = (
    *(0, -1, 1, 2, 3, 7, 0.5, 1.5, -0.0, 1e-320, 1e30, 1e308, -1e308, 10**9, 10**12, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63)),
    *(10**400, 100_000, 1_000_000, 1e999, -1e999, float("nan")),
)
TEXTS = (
    *("", " ", "none", "null", "real", "x" * 5000, "ä", "\u202e", "𝔘𝔫𝔦", "a\nb", "a\tb", "\x1b[2J", "\x7f", "\0", "%s{0}", "'", "<b>"),
    *("../../x", "/tmp/x", "/", ".", "..", "~", "~nobody-of-that-name/x", "C:\\x", "con", "store", "a/b", "-", "--out", "/dev/zero"),
    *(":", "os:path", "os:", ":x", ".x:y", "no_such_module:X", "json:JSONDecoder", "autophagy.common.core.pool:Pool", "1/t^9999", "1e400"),
    *("autophagy.common.components.generator:FitResult", "autophagy.common.components.curation:CurationResult"),
    *("autophagy.vision.data:Digits", "edited", "base", "scratch"),
)
SHAPES = (
    *(None, True, False, [], {}, [[]], [None], {"use": None}, {"use": []}, {"": ""}, {None: 1}, {1: 2}, {"use": {"use": "x"}}),
    [1, "a", None],
)
SNIPPETS = (
    *("!!python/object/apply:os.system ['touch canary']", "!!python/name:os.system", "!!binary x", "!!binary aGFsbG8=", "!!set {a, b}"),
    *("!!int ''", "!!bool perhaps", "!!timestamp soon", "!!float ''", "!!omap [a: 1]", "2001-02-03", "2001-99-99", "1:30:00", "*nobody"),
    *("&a [*a]", "&a {b: *a}", "{<<: 3}", "{<<: [*a]}", "? [a]\n: b", "{[a]: b}", "{{a: b}: c}", "|\n  a\n  b", ">\n a", "%YAML 9.9"),
    *("---", "...", "\t", "'", '"', "[", "{", "}", "]", '"\\ud800"', '"\\x00"', "\ufeff", "!<tag> x", "! x", "@", "`", "- - - -", ": : :"),
    *("<<: {use: real}", "0o17", "0b1", "1_000", ".inf", "-.inf", ".NaN", "~"),
)

BOMB = "\n".join(
    ["bomb0: &b0 [x, x, x, x, x, x, x, x, x, x]", *(f"bomb{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 10)}]" for n in range(1, 12))]
)
"""10^12 strings in 500 characters of YAML aliases ("billion laughs")."""
MERGES = "\n".join(["merge0: &m0 {x: 1}", *(f"merge{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 10)}], y{n}: 1}}" for n in range(1, 12))])
"""The same attack with YAML merge keys."""


NUDGES: tuple[Callable[[Any], Any], ...] = (
    *(lambda x: x + 1, lambda x: x - 1, lambda x: -x, lambda x: x * 2, lambda x: x // 2, str),
    lambda x: x / 3 if abs(x) < 1e300 else x // 3,
)


@dataclass(frozen=True)
class Material:
    """Values and configs that mutations are built from."""

    others: Sequence[dict[str, Any]]
    """Configs whose sections may replace those of another config."""
    numbers: Sequence[float] = NUMBERS
    nudges: Sequence[Callable[[Any], Any]] = (*NUDGES, lambda x: x * 1000)


def mutated(source: str, number: int, *, material: Material, label: str) -> tuple[bytes, list[str]]:
    """Return a mutated config as bytes, and `key=value` words for the command line. Both depend on `label` and `number` only."""
    rng = random.Random(f"{label}, {number}")
    kind = rng.random()
    if kind < 0.15:
        return _mutated_text(source, rng), []
    config = yaml.safe_load(source)
    if kind < 0.3:
        return source.encode(), [_change(config, rng) for _ in range(rng.randint(1, 2))]
    text = yaml.safe_dump(restructured(config, rng, material), sort_keys=False, allow_unicode=rng.random() < 0.5)
    return text.encode("utf-8", "surrogatepass"), []


def restructured(config: Any, rng: random.Random, material: Material) -> Any:
    """Change one to three things in a config, in place."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if isinstance(config, dict) and config:
            rng.choice(STRUCTURAL)(config, rng, material)
    return config


# ---- values -------------------------------------------------------------------------------------------------------------


def _value(rng: random.Random, material: Material) -> Any:
    """Return a random value, which is invalid in most places."""
    kind = rng.random()
    if kind < 0.45:
        return rng.choice(material.numbers)
    if kind < 0.75:
        return rng.choice(TEXTS)
    if kind < 0.95:
        return copy.deepcopy(rng.choice(SHAPES))
    deep: Any = rng.choice(TEXTS)
    for _ in range(rng.choice((3, 40, 150))):
        deep = [deep] if rng.random() < 0.5 else {"use": deep}
    return deep


def _places(config: Any) -> list[tuple[Any, Any]]:
    """Return all (container, key) pairs of a config."""
    places = []
    if isinstance(config, dict | list):
        for key, value in list(config.items() if isinstance(config, dict) else enumerate(config)):
            places += [(config, key), *_places(value)]
    return places


def _replace(config: Any, rng: random.Random, material: Material) -> None:
    inner, key = rng.choice(_places(config))
    inner[key] = _value(rng, material)


def _nudge(config: Any, rng: random.Random, material: Material) -> None:
    numbers = [(inner, key) for inner, key in _places(config) if isinstance(inner[key], int | float) and not isinstance(inner[key], bool)]
    if numbers:
        inner, key = rng.choice(numbers)
        inner[key] = rng.choice(material.nudges)(inner[key])


def _drop(config: Any, rng: random.Random, material: Material) -> None:
    inner, key = rng.choice(_places(config))
    del inner[key]


def _rename(config: Any, rng: random.Random, material: Material) -> None:
    mappings = [(inner, key) for inner, key in _places(config) if isinstance(inner, dict)]
    inner, key = rng.choice(mappings)
    new = rng.choice((str(key)[1:], f"{key}s", str(key).upper(), str(key)[::-1], rng.choice(TEXTS), rng.choice(NUMBERS), True, None))
    items = [(new if name == key else name, value) for name, value in inner.items()]
    inner.clear()
    inner.update(items)


def _swap(config: Any, rng: random.Random, material: Material) -> None:
    (one, here), (other, there) = (rng.choice(_places(config)) for _ in range(2))
    values = copy.deepcopy((one[here], other[there]))
    one[here], other[there] = values[1], values[0]


def _double(config: Any, rng: random.Random, material: Material) -> None:
    inner, key = rng.choice(_places(config))
    inner[key] = [copy.deepcopy(inner[key]) for _ in range(rng.choice((1, 2, 100)))]


def _add(config: Any, rng: random.Random, material: Material) -> None:
    containers = [config, *(inner[key] for inner, key in _places(config) if isinstance(inner[key], dict))]
    rng.choice(containers)[rng.choice(("rows", "worlds", "use", "base", "seed", "keep", rng.choice(TEXTS), 3))] = _value(rng, material)


def _borrow(config: Any, rng: random.Random, material: Material) -> None:
    """Replace a section by the same section of another config. The section is usually valid, but the combination is untested."""
    other = copy.deepcopy(rng.choice(material.others))
    key = rng.choice([key for key in other if key not in ("name", "question")])
    config[key] = other[key]


STRUCTURAL = (_replace, _replace, _replace, _nudge, _nudge, _nudge, _nudge, _drop, _rename, _swap, _double, _add, _borrow, _borrow)


# ---- text ---------------------------------------------------------------------------------------------------------------


def _change(config: Any, rng: random.Random) -> str:
    """Return a `key=value` word for the command line. The key is an existing path of the config, or similar to one."""
    path, inner = [], config
    while isinstance(inner, dict) and inner and rng.random() < 0.8:
        path.append(str(rng.choice(list(inner))))
        inner = inner.get(path[-1])
    path = [*path, *([rng.choice(("use", "0", "", "x", "rows", "keep"))] if rng.random() < 0.3 or not path else [])]
    value = rng.choice(
        (rng.choice(SNIPPETS), rng.choice(TEXTS), str(rng.choice(NUMBERS)), repr(rng.choice(SHAPES)), str(rng.choice(NUMBERS)))
    )
    return f"{'.'.join(path)}={value}".replace("\0", "")


def _mutated_text(source: str, rng: random.Random) -> bytes:
    lines, raw = source.splitlines(), source.encode()
    at = rng.randrange(len(lines))
    kind = rng.randrange(12)
    if kind == 0:
        return raw[: rng.randrange(len(raw))]
    if kind == 1:
        mutated_bytes = bytearray(raw)
        for _ in range(rng.choice((1, 3, 30))):
            mutated_bytes[rng.randrange(len(raw))] = rng.randrange(256)
        return bytes(mutated_bytes)
    if kind == 2:
        return rng.randbytes(rng.choice((0, 1, 100, 5000)))
    if kind == 3:
        lines.insert(at, rng.choice(lines))
    elif kind == 4:
        del lines[at]
    elif kind == 5:
        lines[at] = "\t" + lines[at]
    elif kind == 6:
        lines.insert(at, rng.choice(SNIPPETS))
    elif kind in (7, 8):
        head, colon, _ = lines[at].partition(":")
        lines[at] = f"{head}{colon} {rng.choice(SNIPPETS)}"
    elif kind == 9:
        bomb, last = rng.choice(((BOMB, "*b11"), (BOMB, "*b4"), (MERGES, "*m11"), (MERGES, "*m3")))
        head, colon, _ = lines[at].partition(":")
        return "\n".join([bomb, *lines[:at], f"{head}{colon} {last}", *lines[at + 1 :]]).encode()
    elif kind == 10:
        depth = rng.choice((10, 100, 1000, 100_000))
        opening, closing = rng.choice((("[", "]"), ("{a: ", "}"), ("- ", "")))
        lines[at] = f"{lines[at].partition(':')[0]}: {opening * depth}{closing * depth}"
    else:
        lines[at] = "".join(rng.sample(lines[at], len(lines[at])))
    return "\n".join(lines).encode("utf-8", "surrogatepass")
