"""Cross-field validation: checks that the components of an experiment are compatible, before anything runs.

All functions raise ValueError with the key at fault. `schema.Experiment` converts it to a UserError that names the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..components.generator import supports_labels, supports_prompts
from ..components.metric import required_abilities, required_columns
from ..core.pool import EDITED
from .arms import Arm, Member, Start
from .registry import ComponentSpec, find

Members = Mapping[str, Member]


@dataclass(frozen=True)
class Setup:
    """The inputs that are available to metrics, curations and arms: the members, their data columns and the feature model."""

    members: Members
    columns: Sequence[str]
    features: ComponentSpec | None


def validate_members(members: Members, *, init: Start | None, prompts: str, labels: str) -> None:
    """Check that every generator supports the columns, `init`, `prompts` and `labels` of the experiment."""
    first = next(iter(members.values())).generator.use
    columns = find("generator", first).columns
    for member in members.values():
        if member.name in ("real", EDITED):
            raise ValueError(f"generators: '{member.name}' is reserved; choose another name")
        use = member.generator.use
        generator = find("generator", use)
        if set(generator.columns) != set(columns):
            raise ValueError(
                f"generators: all must produce the same columns, but '{first}' produces {', '.join(columns)} "
                f"and '{use}' produces {', '.join(generator.columns)}"
            )
        if init == "base" and not member.has_base:
            raise ValueError(f"init: base needs a model to start from; add a `base:` section for '{member.name}' or set its `pretrained`")
        if prompts != "none" and not supports_prompts(generator):
            raise ValueError(f"prompts: {prompts}: generator '{use}' does not support prompts; set prompts: none")
        if labels == "conditional" and not supports_labels(generator):
            raise ValueError(f"labels: conditional: generator '{use}' does not learn labels; set labels: none")


def validate_inputs(spec: ComponentSpec, setup: Setup, *, key: str) -> None:
    """Check that the experiment has all inputs, columns and generator abilities that a metric or a curation needs."""
    component = spec.build()
    if setup.features is None and "features" in component.reads:
        raise ValueError(f"{key}: {spec.use} needs a feature model; set `features:`")
    missing = sorted(set(required_columns(component)) - set(setup.columns))
    if missing:
        use = next(iter(setup.members.values())).generator.use
        raise ValueError(f"{key}: {spec.use} needs the column '{missing[0]}', but generator '{use}' produces {', '.join(setup.columns)}")
    for member in setup.members.values():
        generator = find("generator", member.generator.use)
        for ability in required_abilities(component):
            if not (hasattr(generator, ability) or hasattr(member.generator.build(), ability)):
                raise ValueError(f"{key}: {spec.use} needs a generator with `{ability}`, but '{member.generator.use}' does not have it")
            if ability == "detect" and not (member.generator.settings.get("sampling") or {}).get("watermark"):
                raise ValueError(f"{key}: {spec.use} detects watermarks, but '{member.name}' writes none; set its sampling.watermark")


def validate_output_names(metrics: Sequence[ComponentSpec]) -> None:
    """Check that no two metrics return a number with the same name."""
    owners: dict[str, str] = {}
    for spec in metrics:
        for output in find("metric", spec.use).outputs:
            if output in owners:
                raise ValueError(f"metrics: {owners[output]} and {spec.use} both give '{output}'; remove one of them")
            owners[output] = spec.use


def validate_arm(arm: Arm, setup: Setup, *, size: int, max_candidates_per_row: int, key: str) -> None:
    """Check that an arm has the generators and the inputs that it needs, and that it can fill its pools."""
    if arm.learn_from != "self" and len(setup.members) < 2:
        raise ValueError(f"{key}.learn_from: '{arm.learn_from}' needs several generators; set `generators:` instead of `generator:`")
    if arm.curation is not None:
        validate_inputs(arm.curation, setup, key=f"{key}.curation")
        rate = arm.curation.build().expected_keep_rate(synthetic_fraction=arm.synthetic_fraction)
        if rate * max_candidates_per_row < 1:
            raise ValueError(
                f"{key}.curation: {arm.curation.use} is expected to keep {rate:.3g} of its candidates "
                f"(synthetic_fraction: {arm.synthetic_fraction:g}), so max_candidates_per_row ({max_candidates_per_row}) is too small"
            )
    if round(arm.synthetic_fraction * size) == 0:
        raise ValueError(f"{key}.synthetic_fraction: {arm.synthetic_fraction:g} of size: {size} is less than one row")
