"""The schema of a config. Turns a YAML file and `key=value` changes into a validated, complete `Experiment`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ..components.class_imbalance import ClassImbalance
from ..core.errors import UserError, did_you_mean, short_repr
from . import renames
from .arms import ARM_KEYS, MEMBER_KEYS, Arm, Member, Start, with_controls
from .registry import ComponentSpec, error_lines, find, prefix_errors
from .validation import Setup, validate_arm, validate_inputs, validate_members, validate_output_names
from .yaml_loader import load_yaml, parse_yaml


def _component(kind: str) -> BeforeValidator:
    """Make a validator that parses a component of this kind."""
    return BeforeValidator(lambda raw: raw if isinstance(raw, ComponentSpec) else ComponentSpec.parse(kind, raw))


def _parse_arms(raw: Any) -> Any:
    """Parse `policies:`. `[replace, real]` and `{replace: }` are short for `{replace: {use: replace}, ...}`."""
    if isinstance(raw, str):
        raw = [raw]
    return _parse_values(_names_to_mapping(raw), lambda name, arm: Arm.parse(arm))


def _parse_members(raw: Any) -> Any:
    """Parse `generators:`. `[causal-lm, ngram]` is short for `{causal-lm: {use: causal-lm}, ...}`."""
    return _parse_values(_names_to_mapping(raw), Member.parse)


def _names_to_mapping(raw: Any) -> Any:
    """Convert a list of names to a mapping from names to None. Other values are returned unchanged."""
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        return raw
    if wrong := [entry for entry in raw if not isinstance(entry, str)]:
        raise ValueError(f"a list may hold names only, not {short_repr(wrong[0])}; write settings under a name, as in `name: {{use: ...}}`")
    return dict.fromkeys(raw)


def _parse_values(raw: Any, parse: Callable[[str, Any], Any]) -> Any:
    """Parse each value of a mapping. An empty value stands for the component with the same name as the key.

    Values that are no mappings are returned unchanged; pydantic rejects them.
    """
    if not isinstance(raw, Mapping):
        return raw
    parsed = {}
    for name, value in raw.items():
        if isinstance(value, Mapping) and value:
            complete: Any = {"use": str(name), **value}
        else:
            complete = value or str(name)
        parsed[name] = prefix_errors(str(name), lambda name=name, complete=complete: parse(str(name), complete))  # type: ignore[misc]
    return parsed


def _parse_imbalance(raw: Any) -> Any:
    """Expand the short form `100` to `{ratio: 100}`."""
    return {"ratio": raw} if isinstance(raw, int | float) else raw


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]

EXTRA_KEYS = {"policies": (*ARM_KEYS, *renames.RENAMED_ARM_KEYS), "generators": MEMBER_KEYS}
"""Keys of arms and members that are not settings of their policy or generator."""


class Experiment(BaseModel):
    """A validated config: one data set, one or several generators, named policies, metrics and seeds.

    An experiment contains everything that determines results. Devices, workers and folders do not, so they are options of
    `run`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: Name
    question: str = ""
    """The question that the experiment answers, in one sentence. The report shows it at the top."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**63)], ...], Field(min_length=1)] = (0,)
    """Seeds. One chain is run for each policy and seed. The chain is the unit of replication."""
    generations: Annotated[int, Field(ge=1, le=100_000)]
    """Number of generations after generation 0. Generation 0 trains on real data under every policy."""
    size: Annotated[int, Field(ge=2, le=10**9)]
    """Number of rows of the real training pool, and of the pool that each generation produces."""
    eval_size: Annotated[int, Field(ge=2, le=10**9)]
    """Number of generated, held-out and control rows that metrics compare."""
    data: Annotated[ComponentSpec, _component("data")]
    imbalance: Annotated[ClassImbalance, BeforeValidator(_parse_imbalance)] | None = None
    """Makes labelled data long-tailed: `100`, or `{ratio: 100, shape: zipf}`."""
    labels: Literal["none", "conditional"] = "none"
    """With `conditional`, generators also learn and produce the column `label`."""
    generator: Annotated[ComponentSpec, _component("generator")] | None = None
    base: Mapping[str, Any] | None = None
    """Settings of the base model that differ from those of `generator`; `{}` means none differ.

    The base model is trained once, on the `base` split of the data. None: there is no base model.
    """
    generators: Annotated[Mapping[Name, Member], BeforeValidator(_parse_members), Field(min_length=2)] | None = None
    """Several generators that share each chain, each with an optional `base`. Set this or `generator`."""
    init: Start | None = None
    """Initial weights of each generation. Default: `base` if there is a base model, else `scratch` (new weights)."""
    prompts: Literal["none", "real", "fixed", "synthetic"] = "none"
    """Prompts that text generation continues: none, new real rows in each generation, the same real rows, or generated rows."""
    unequal_steps: bool = False
    """True allows policies to differ in optimizer steps. With False, a difference stops the run."""
    policies: Annotated[Mapping[Name, Arm], BeforeValidator(_parse_arms), Field(min_length=1)]
    """The arms to compare: policies, each with an optional `curation`, `synthetic_fraction` and `learn_from`."""
    controls: Literal["none", "auto"] = "none"
    """`auto` adds the controls that each policy declares, such as real data alone or generated data of the same size."""
    max_candidates_per_row: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Largest number of sampled rows per row that a curation keeps. If a curation needs more, the run stops."""
    metrics: Annotated[tuple[Annotated[ComponentSpec, _component("metric")], ...], Field(min_length=1)]
    floor_draws: Annotated[int, Field(ge=2, le=1000)] = 5
    """Number of draws per floor. A floor is the mean value of a metric on this many draws of real rows."""
    features: Annotated[ComponentSpec, _component("features")] | None = None
    """The feature model of all feature-space metrics. It is trained once, on real data only."""

    @model_validator(mode="after")
    def _validate(self) -> Experiment:
        if (self.generator is None) == (self.generators is None):
            raise ValueError("set exactly one of generator and generators")
        if self.generators is not None and self.base is not None:
            raise ValueError("base: cannot be combined with `generators:`; set generators.<name>.base instead")
        if self.eval_size > self.size:
            raise ValueError(f"eval_size ({self.eval_size}) must be at most size ({self.size}), the number of rows per generation")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: {short_repr(list(self.seeds))} contains a seed twice; remove one of them")
        validate_members(self.members, init=self.init, prompts=self.prompts, labels=self.labels)
        setup = Setup(self.members, self.columns, self.features)
        for spec in self.metrics:
            validate_inputs(spec, setup, key="metrics")
        validate_output_names(self.metrics)
        for name, arm in self.policies.items():
            validate_arm(arm, setup, size=self.size, max_candidates_per_row=self.max_candidates_per_row, key=f"policies.{name}")
        return self

    @cached_property
    def members(self) -> Mapping[str, Member]:
        """The generators of a chain, by name."""
        if self.generators is not None:
            return self.generators
        assert self.generator is not None
        base = {} if self.base is None else {"base": self.base}
        return {self.generator.use: Member.parse(self.generator.use, {**self.generator.config, **base})}

    @cached_property
    def arms(self) -> Mapping[str, Arm]:
        """All arms: those under `policies` and the controls that `controls: auto` adds."""
        return with_controls(self.policies) if self.controls == "auto" else self.policies

    @property
    def components(self) -> tuple[ComponentSpec, ...]:
        """All components of a run, except the data set and the base models."""
        curations = [arm.curation for arm in self.arms.values() if arm.curation is not None]
        features = [] if self.features is None else [self.features]
        return (*(member.generator for member in self.members.values()), *features, *self.metrics, *curations)

    @property
    def chains(self) -> int:
        """Number of chains: the number of arms times the number of seeds."""
        return len(self.arms) * len(self.seeds)

    @property
    def _first_generator(self) -> Any:
        return find("generator", next(iter(self.members.values())).generator.use)

    @property
    def modality(self) -> str:
        """Modality of the experiment (`text`, `vision` or `analytic`), taken from the first generator."""
        return str(self._first_generator.modality)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the data columns that generators learn and produce."""
        columns = tuple(self._first_generator.columns)
        return (*columns, "label") if self.labels == "conditional" else columns

    @property
    def config(self) -> dict[str, Any]:
        """The experiment as plain values (the content of a YAML file), with all defaults."""
        config = {name: getattr(self, name) for name in type(self).model_fields}
        config["seeds"] = list(self.seeds)
        config["imbalance"] = None if self.imbalance is None else dataclasses.asdict(self.imbalance)
        config["base"] = None if self.base is None else dict(self.base)
        config["init"] = self.init or (next(iter(self.members.values())).start(None) if self.generator else None)
        config["policies"] = {name: arm.config for name, arm in self.policies.items()}
        config["metrics"] = [spec.config for spec in self.metrics]
        config["generators"] = self.generators and {name: member.config for name, member in self.generators.items()}
        for name in ("data", "generator", "features"):
            config[name] = config[name] and config[name].config
        return config

    def yaml(self) -> str:
        """Return the experiment as YAML, with all defaults. Loading the text gives an equal experiment."""
        return yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True)


def load_config(path: str | Path, changes: Sequence[str] = ()) -> Experiment:
    """Read a YAML config, apply `key.path=value` changes in order, and validate the result.

    A change of `component.use` removes the settings of the old component. Raises UserError if the config is invalid. The
    message gives the file, the path of the key, the value and the expected value.
    """
    path = Path(path)
    raw = load_yaml(path)
    for change in changes:
        _apply(raw, change)
    return experiment(raw, where=str(path))


def experiment(raw: Mapping[str, Any], *, where: str = "config") -> Experiment:
    """Validate plain values (the content of a YAML file). Keys of earlier versions are accepted (see `renames`)."""
    try:
        config = renames.rename_keys(raw, renames.RENAMED_EXPERIMENT_KEYS)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    if isinstance(prompts := config.get("prompts"), str):
        config["prompts"] = renames.PROMPTS.get(prompts, prompts)
    if unknown := [key for key in config if key not in Experiment.model_fields]:
        raise UserError(f"{where}: {unknown[0]}: unknown key{did_you_mean(unknown[0], Experiment.model_fields)}")
    try:
        return Experiment.model_validate(config)
    except ValidationError as error:
        raise UserError("\n".join(f"{where}: {line}" for line in error_lines(error))) from error


def _apply(raw: dict[str, Any], change: str) -> None:
    """Apply one `key.path=value` change to a config, in place."""
    path, equals, text = change.partition("=")
    if not equals or not path:
        raise UserError(f"'{change}' is neither a config file nor a change of the form key=value")
    *parents, last = path.split(".")
    inner: Any = raw
    for depth, key in enumerate(parents):
        if isinstance(inner.get(key), str) or inner.get(key) is None:
            inner[key] = {"use": inner[key]} if inner.get(key) else {}
        if depth == 0 and key in EXTRA_KEYS and isinstance(inner[key], list):
            inner[key] = dict.fromkeys(map(str, inner[key]))
        inner = inner[key]
        if not isinstance(inner, dict):
            raise UserError(f"{change}: {'.'.join(parents[: depth + 1])} is {short_repr(inner)}, which has no keys")
    if last == "use" and parents:  # remove settings of the old component; keep the extra keys of the arm or member
        extra = {name: inner[name] for name in EXTRA_KEYS.get(parents[0], ()) if len(parents) == 2 and name in inner}
        inner.clear()
        inner.update(extra)
    inner[last] = parse_yaml(text, where=change)
