"""Configs: a YAML file and `key=value` changes become one checked, complete `Experiment`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ..components.dataset import ClassImbalance
from ..core.errors import UserError, did_you_mean, short_repr
from . import renames
from .arms import ARM_KEYS, MEMBER_KEYS, Arm, Member, Start, with_controls
from .registry import ComponentSpec, explain, find, under
from .renames import rename_keys
from .validation import validate_arm, validate_inputs, validate_members, validate_output_names
from .yaml_loader import parse, read


def _part(kind: str) -> BeforeValidator:
    return BeforeValidator(lambda written: written if isinstance(written, ComponentSpec) else ComponentSpec.parse(kind, written))


def _arms(written: Any) -> Any:
    """`[replace, real]` and `{replace: }` are short for `{replace: {use: replace}, ...}`."""
    if isinstance(written, str):
        written = [written]
    return _each(_named(written), lambda name, arm: Arm.parse(arm))


def _members(written: Any) -> Any:
    """`[causal-lm, ngram]` is short for `{causal-lm: {use: causal-lm}, ...}`."""
    return _each(_named(written), Member.parse)


def _named(written: Any) -> Any:
    """A list of names as a mapping of names to nothing."""
    if not isinstance(written, Sequence) or isinstance(written, str):
        return written
    if wrong := [entry for entry in written if not isinstance(entry, str)]:
        raise ValueError(f"a list holds names, not {short_repr(wrong[0])}; settings are written under a name, as in `name: {{use: ...}}`")
    return dict.fromkeys(written)


def _each(written: Any, parse: Callable[[str, Any], Any]) -> Any:
    """The parsed values of a mapping, each of which may be left out if its name says it all; what is no mapping pydantic refuses."""
    if not isinstance(written, Mapping):
        return written
    complete = {
        name: value or str(name) if not isinstance(value, Mapping) or not value else {"use": str(name), **value}
        for name, value in written.items()
    }
    return {name: under(str(name), lambda name=name, value=value: parse(str(name), value)) for name, value in complete.items()}


def _imbalance(written: Any) -> Any:
    """`100` is short for `{ratio: 100}`."""
    return {"ratio": written} if isinstance(written, int | float) else written


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


OWN = {"policies": ARM_KEYS, "generators": MEMBER_KEYS}
"""Keys beside `use` that are not settings of the part itself."""


class Experiment(BaseModel):
    """One data set and one generator (or several) x named policies x seeds. The *what*; devices, workers and folders are the *how*."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: Name
    question: str = ""
    """What the experiment asks, in a sentence; heads the report."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**63)], ...], Field(min_length=1)] = (0,)
    """One chain per policy and seed. The chain is the unit of replication."""
    generations: Annotated[int, Field(ge=1, le=100_000)]
    """Generations after generation 0, which trains on real data under every policy."""
    size: Annotated[int, Field(ge=2, le=10**9)]
    """Rows of the real training pool, and rows every generation makes."""
    eval_size: Annotated[int, Field(ge=2, le=10**9)]
    """Rows of made, held-out and control data that metrics compare."""
    data: Annotated[ComponentSpec, _part("data")]
    imbalance: Annotated[ClassImbalance, BeforeValidator(_imbalance)] | None = None
    """Makes labelled data long-tailed: `100`, or `{ratio: 100, shape: zipf}`."""
    labels: Literal["none", "conditional"] = "none"
    """Whether generators learn and make the column `label` too, each row given its class."""
    generator: Annotated[ComponentSpec, _part("generator")] | None = None
    base: Mapping[str, Any] | None = None
    """If given, the generator with these settings is trained once on the data's `base` split; `{}` changes nothing."""
    generators: Annotated[Mapping[Name, Member], BeforeValidator(_members), Field(min_length=2)] | None = None
    """In place of `generator`: several that live in the same chain, each with a `base` of its own if it is to have one."""
    init: Start | None = None
    """What each generation starts from; left out: `base` where there is one, else `scratch`."""
    prompts: Literal["none", "real", "fixed", "synthetic"] = "none"
    """What sampling continues: nothing, real rows drawn anew each generation, the same real rows always, or what was made before."""
    unequal_steps: bool = False
    """Whether policies may differ in optimizer steps. If not, a difference stops the run."""
    policies: Annotated[Mapping[Name, Arm], BeforeValidator(_arms), Field(min_length=1)]
    """What is compared: policies, each with a `curation`, a `synthetic_fraction` and `learn_from` if it is to have them."""
    controls: Literal["none", "auto"] = "none"
    """`auto` adds the controls that each policy names: real data alone and made data of the same size."""
    max_candidates_per_row: Annotated[int, Field(ge=1, le=10_000)] = 20
    """At most so many rows are sampled for each one that a curation keeps; a model that needs more stops the run."""
    metrics: Annotated[tuple[Annotated[ComponentSpec, _part("metric")], ...], Field(min_length=1)]
    floor_draws: Annotated[int, Field(ge=2, le=1000)] = 5
    """The floor of every number is the mean over so many draws of real rows against real rows, of the same size each."""
    features: Annotated[ComponentSpec, _part("features")] | None = None
    """The fixed feature model that feature-space metrics read; trained on real data once, never on made data."""

    @model_validator(mode="after")
    def _agree(self) -> Experiment:
        if (self.generator is None) == (self.generators is None):
            raise ValueError("exactly one of generator and generators is needed")
        if self.generators is not None and self.base is not None:
            raise ValueError("base: with several generators each has its own, as generators.<name>.base")
        if self.eval_size > self.size:
            raise ValueError(f"eval_size: {self.eval_size} rows cannot be measured when a generation makes size = {self.size}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: {short_repr(list(self.seeds))} names a seed twice")
        validate_members(self.members, init=self.init, prompts=self.prompts, labels=self.labels)
        have = {"members": self.members, "columns": self.columns, "features": self.features}
        for part in self.metrics:
            validate_inputs(part, **have, key="metrics")
        validate_output_names(self.metrics)
        for name, arm in self.policies.items():
            validate_arm(arm, **have, size=self.size, candidates=self.max_candidates_per_row, key=f"policies.{name}")
        return self

    @cached_property
    def members(self) -> Mapping[str, Member]:
        """The generators of a chain, by name."""
        if self.generators is not None:
            return self.generators
        part = self.generator
        return {part.use: Member.parse(part.use, {**part.written, **({} if self.base is None else {"base": self.base})})}

    @cached_property
    def arms(self) -> Mapping[str, Arm]:
        """The policies, with the controls that `controls: auto` adds."""
        return with_controls(self.policies) if self.controls == "auto" else self.policies

    @property
    def modality(self) -> str:
        return find("generator", next(iter(self.members.values())).part.use).modality

    @property
    def columns(self) -> tuple[str, ...]:
        """The data columns that go round the loop."""
        columns = find("generator", next(iter(self.members.values())).part.use).columns
        return (*columns, "label") if self.labels == "conditional" else columns

    @property
    def written(self) -> dict[str, Any]:
        """The whole experiment as plain values, every default filled in."""
        plain = {name: getattr(self, name) for name in type(self).model_fields}
        plain["seeds"] = list(self.seeds)
        plain["imbalance"] = None if self.imbalance is None else dataclasses.asdict(self.imbalance)
        plain["base"] = None if self.base is None else dict(self.base)
        plain["init"] = self.init or (next(iter(self.members.values())).start(None) if self.generator else None)
        plain["policies"] = {name: arm.written for name, arm in self.policies.items()}
        plain["metrics"] = [part.written for part in self.metrics]
        plain["generators"] = self.generators and {name: member.written for name, member in self.generators.items()}
        for name in ("data", "generator", "features"):
            plain[name] = plain[name] and plain[name].written
        return plain

    def yaml(self) -> str:
        return yaml.safe_dump(self.written, sort_keys=False, allow_unicode=True)


def load_config(path: str | Path, changes: Sequence[str] = ()) -> Experiment:
    """Read a YAML config, apply `key.path=value` changes in order, check it.

    A change of `part.use` starts that part anew: the settings of the old part mean nothing to the new one.
    Raises UserError naming the file, the path of the key, what was found and what would be right.
    """
    path = Path(path)
    written = read(path)
    for change in changes:
        _apply(written, change)
    return experiment(written, where=str(path))


def experiment(written: Mapping[str, Any], *, where: str = "config") -> Experiment:
    """A checked experiment from plain values."""
    written = rename_keys(written, renames.EXPERIMENT_KEYS)
    if isinstance(prompts := written.get("prompts"), str):
        written["prompts"] = renames.PROMPTS.get(prompts, prompts)
    unknown = [key for key in written if key not in Experiment.model_fields]
    if unknown:
        raise UserError(f"{where}: {unknown[0]}: unknown key{did_you_mean(unknown[0], Experiment.model_fields)}")
    try:
        return Experiment.model_validate(dict(written))
    except ValidationError as error:
        raise UserError("\n".join(f"{where}: {line}" for line in explain(error))) from error


def _apply(written: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    if not equals or not path:
        raise UserError(f"'{change}' is neither a config file nor a change of the form key=value")
    *parents, last = path.split(".")
    inner: Any = written
    for depth, key in enumerate(parents):
        if isinstance(inner.get(key), str) or inner.get(key) is None:
            inner[key] = {"use": inner[key]} if inner.get(key) else {}
        if depth == 0 and key in OWN and isinstance(inner[key], list):
            inner[key] = dict.fromkeys(map(str, inner[key]))
        inner = inner[key]
        if not isinstance(inner, dict):
            raise UserError(f"{change}: {'.'.join(parents[: depth + 1])} holds {short_repr(inner)}, which has no keys")
    if last == "use" and parents:  # the old part's settings mean nothing to the new one; what belongs to the arm or the member stays
        kept = {name: inner[name] for name in OWN.get(parents[0], ()) if len(parents) == 2 and name in inner}
        inner.clear()
        inner.update(kept)
    inner[last] = parse(text, where=change)
