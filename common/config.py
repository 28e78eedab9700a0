"""Configs: a YAML file and `key=value` changes become one checked, complete `Experiment`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from .errors import UserError, nearest
from .plugins import Part, explain, find


def _part(kind: str) -> BeforeValidator:
    return BeforeValidator(lambda written: written if isinstance(written, Part) else Part.parse(kind, written))


def _policies(written: Any) -> Any:
    """`[replace, real]` and `{replace: }` are short for `{replace: {use: replace}, ...}`."""
    if isinstance(written, str):
        written = [written]
    if isinstance(written, Sequence):
        written = dict.fromkeys(written)
    if isinstance(written, Mapping):
        return {name: part or str(name) for name, part in written.items()}
    return written


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class Experiment(BaseModel):
    """One data set and one generator x named policies x seeds. The *what*; devices, workers and folders are the *how*."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: Name
    question: str = ""
    """What the experiment asks, in a sentence; heads the report."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**63)], ...], Field(min_length=1)] = (0,)
    """One chain per policy and seed. The chain is the unit of replication."""
    generations: Annotated[int, Field(ge=1)]
    """Generations after generation 0, which trains on real data under every policy."""
    size: Annotated[int, Field(ge=2)]
    """Rows of the real training pool, and rows every generation makes."""
    eval_size: Annotated[int, Field(ge=2)]
    """Rows of made, held-out and control data that metrics compare."""
    data: Annotated[Part, _part("data")]
    generator: Annotated[Part, _part("generator")]
    base: Mapping[str, Any] | None = None
    """If given, the generator with these settings is trained once on the data's `base` split; `{}` changes nothing."""
    init: Literal["base", "previous", "scratch"] | None = None
    """What each generation starts from; left out: `base` where there is one, else `scratch`."""
    prompts: Literal["none", "real", "frozen"] = "none"
    """What sampling continues: nothing, real rows drawn anew each generation, or the same real rows always."""
    unequal_steps: bool = False
    """Whether policies may differ in optimizer steps. If not, a difference stops the run."""
    policies: Annotated[Mapping[Name, Annotated[Part, _part("policy")]], BeforeValidator(_policies), Field(min_length=1)]
    metrics: Annotated[tuple[Annotated[Part, _part("metric")], ...], Field(min_length=1)]
    features: Annotated[Part, _part("features")] | None = None
    """The fixed feature model that feature-space metrics read; trained on real data once, never on made data."""

    @model_validator(mode="after")
    def _agree(self) -> Experiment:
        if self.eval_size > self.size:
            raise ValueError(f"eval_size: {self.eval_size} rows cannot be measured when a generation makes size = {self.size}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: {list(self.seeds)} names a seed twice")
        if self.base is not None:
            try:
                self.generator.but(self.base)
            except UserError as error:
                raise ValueError(f"base.{error}") from error
        if self.init == "base" and self.base is None and not self.generator.settings.get("pretrained"):
            raise ValueError("init: base needs a `base:` section (or a generator with `pretrained`) to start from")
        if self.prompts != "none" and not getattr(find("generator", self.generator.use), "continues", False):
            raise ValueError(f"prompts: {self.prompts} cannot be: generator '{self.generator.use}' continues nothing")
        self._agree_on_metrics()
        return self

    def _agree_on_metrics(self) -> None:
        generator, named = find("generator", self.generator.use), {}
        for part in self.metrics:
            metric = find("metric", part.use)
            if self.features is None and "features" in metric.reads:
                raise ValueError(f"metrics: {part.use} needs `features:`, a feature model to measure with")
            if missing := set(getattr(metric, "columns", ())) - set(generator.columns):
                raise ValueError(
                    f"metrics: {part.use} looks at '{missing.pop()}', '{self.generator.use}' makes {', '.join(generator.columns)}"
                )
            if missing := [name for name in getattr(metric, "abilities", ()) if not hasattr(generator, name)]:
                raise ValueError(f"metrics: {part.use} needs a generator that can `{missing[0]}`, '{self.generator.use}' cannot")
            for number in metric.measures:
                if number in named:
                    raise ValueError(f"metrics: {named[number]} and {part.use} both give '{number}'; one name is one number")
                named[number] = part.use

    @property
    def start(self) -> str:
        """`init`, resolved."""
        return self.init or ("base" if self.base is not None or self.generator.settings.get("pretrained") else "scratch")

    @property
    def modality(self) -> str:
        return find("generator", self.generator.use).modality

    @property
    def base_generator(self) -> Part | None:
        return None if self.base is None else self.generator.but(self.base)

    @property
    def written(self) -> dict[str, Any]:
        """The whole experiment as plain values, every default filled in."""
        plain = {name: getattr(self, name) for name in type(self).model_fields}
        for name in ("data", "generator"):
            plain[name] = plain[name].written
        plain["seeds"] = list(self.seeds)
        plain["init"] = self.start
        plain["base"] = None if self.base is None else dict(self.base)
        plain["policies"] = {name: part.written for name, part in self.policies.items()}
        plain["metrics"] = [part.written for part in self.metrics]
        plain["features"] = self.features.written if self.features else None
        return plain

    def yaml(self) -> str:
        return yaml.safe_dump(self.written, sort_keys=False, allow_unicode=True)


def load_config(path: str | Path, changes: Sequence[str] = ()) -> Experiment:
    """Read a YAML config, apply `key.path=value` changes in order, check it.

    A change of `part.use` starts that part anew: the settings of the old part mean nothing to the new one.
    Raises UserError naming the file, the path of the key, what was found and what would be right.
    """
    path = Path(path)
    written = _read(path)
    for change in changes:
        _apply(written, change)
    return experiment(written, where=str(path))


def experiment(written: Mapping[str, Any], *, where: str = "config") -> Experiment:
    """A checked experiment from plain values."""
    unknown = [key for key in written if key not in Experiment.model_fields]
    if unknown:
        raise UserError(f"{where}: {unknown[0]}: unknown key{nearest(unknown[0], Experiment.model_fields)}")
    try:
        return Experiment.model_validate(dict(written))
    except ValidationError as error:
        raise UserError("\n".join(f"{where}: {line}" for line in explain(error))) from error


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


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        beside = [str(other) for other in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        raise UserError(f"{path}: there is no such config{nearest(path, beside)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    written = _parse(text, str(path))
    if not isinstance(written, dict):
        raise UserError(f"{path}: a config is a mapping of keys to values, this is a {type(written).__name__}")
    return written


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from error


def _apply(written: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    if not equals or not path:
        raise UserError(f"'{change}' is neither a config file nor a change of the form key=value")
    *parents, last = path.split(".")
    inner: Any = written
    for depth, key in enumerate(parents):
        if isinstance(inner.get(key), str) or inner.get(key) is None:
            inner[key] = {"use": inner[key]} if inner.get(key) else {}
        inner = inner[key]
        if not isinstance(inner, dict):
            raise UserError(f"{change}: {'.'.join(parents[: depth + 1])} holds {inner!r}, which has no keys")
    if last == "use":
        inner.clear()
    inner[last] = _parse(text, change)
