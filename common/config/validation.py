"""Whether the parts of an experiment fit each other, asked before anything runs. Every answer names the key at fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..core.pool import EDITED
from .arms import Arm, Member, Start
from .registry import ComponentSpec, find

Members = Mapping[str, Member]


def validate_members(members: Members, *, init: Start | None, prompts: str, labels: str) -> None:
    """ValueError if a generator cannot do what is asked of all of them."""
    columns = find("generator", next(iter(members.values())).part.use).columns
    for member in members.values():
        if member.name in ("real", EDITED):
            raise ValueError(f"generators: '{member.name}' is what the audit calls rows that no generator made; another name, please")
        name, found = member.part.use, find("generator", member.part.use)
        if set(found.columns) != set(columns):
            raise ValueError(f"generators: '{name}' makes {', '.join(found.columns)}, another makes {', '.join(columns)}")
        if init == "base" and not member.has_base:
            raise ValueError(f"init: base needs a `base:` section for '{member.name}' (or a generator with `pretrained`) to start from")
        if prompts != "none" and not getattr(found, "continues", False):
            raise ValueError(f"prompts: {prompts} cannot be: generator '{name}' continues nothing")
        if labels == "conditional" and not getattr(found, "conditional", False):
            raise ValueError(f"labels: conditional cannot be: generator '{name}' does not learn labels")


def validate_inputs(part: ComponentSpec, *, members: Members, columns: Sequence[str], features: ComponentSpec | None, key: str) -> None:
    """ValueError if a metric or a curation reads, looks at or needs what is not there."""
    built = part.build()
    if features is None and "features" in built.reads:
        raise ValueError(f"{key}: {part.use} needs `features:`, a feature model to measure with")
    if missing := set(getattr(built, "columns", ())) - set(columns):
        maker = next(iter(members.values())).part.use
        raise ValueError(f"{key}: {part.use} looks at '{missing.pop()}', '{maker}' makes {', '.join(columns)}")
    for member in members.values():
        generator = find("generator", member.part.use)
        for ability in getattr(built, "abilities", ()):
            if not (hasattr(generator, ability) or hasattr(member.part.build(), ability)):
                raise ValueError(f"{key}: {part.use} needs a generator that can `{ability}`, '{member.part.use}' cannot")
            if ability == "detect" and not (member.part.settings.get("sampling") or {}).get("watermark"):
                raise ValueError(f"{key}: {part.use} looks for a watermark and '{member.name}' leaves none; set its sampling.watermark")


def validate_output_names(metrics: Sequence[ComponentSpec]) -> None:
    """ValueError if two metrics give a number of the same name."""
    named: dict[str, str] = {}
    for part in metrics:
        for number in find("metric", part.use).outputs:
            if number in named:
                raise ValueError(f"metrics: {named[number]} and {part.use} both give '{number}'; one name is one number")
            named[number] = part.use


def validate_arm(
    arm: Arm, *, members: Members, columns: Sequence[str], features: ComponentSpec | None, size: int, candidates: int, key: str
) -> None:
    """ValueError if an arm needs other generators or abilities than there are, or could never fill its pools."""
    if arm.learn_from != "self" and len(members) < 2:
        raise ValueError(f"{key}.learn_from: '{arm.learn_from}' needs `generators:` with more than one")
    if arm.curation is not None:
        validate_inputs(arm.curation, members=members, columns=columns, features=features, key=f"{key}.curation")
        share = arm.curation.build().share(synthetic_fraction=arm.synthetic_fraction)
        if share * candidates < 1:
            raise ValueError(
                f"{key}.curation: {arm.curation.use} would keep {share:.3g} of what it is shown (synthetic_fraction: {arm.synthetic_fraction:g}), so "
                f"max_candidates_per_row: {candidates} rows for each one kept do not suffice"
            )
    if round(arm.synthetic_fraction * size) == 0:
        raise ValueError(f"{key}.synthetic_fraction: {arm.synthetic_fraction:g} of size: {size} is less than one row")
