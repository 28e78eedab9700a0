"""Whether the parts of an experiment fit each other, asked before anything runs. Every answer names the key at fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .plugins import Part, find

if TYPE_CHECKING:
    from .arms import Arm, Member
    from .config import Experiment


def agree_on_member(experiment: Experiment, member: Member) -> None:
    """ValueError if a generator cannot do what the experiment asks of all of its generators."""
    name, found = member.part.use, find("generator", member.part.use)
    first = find("generator", next(iter(experiment.members.values())).part.use)
    if set(found.columns) != set(first.columns):
        raise ValueError(f"generators: '{name}' makes {', '.join(found.columns)}, another makes {', '.join(first.columns)}")
    if experiment.init == "base" and not member.has_base:
        raise ValueError(f"init: base needs a `base:` section for '{member.name}' (or a generator with `pretrained`) to start from")
    if experiment.prompts != "none" and not getattr(found, "continues", False):
        raise ValueError(f"prompts: {experiment.prompts} cannot be: generator '{name}' continues nothing")
    if experiment.labels == "conditional" and not getattr(found, "conditional", False):
        raise ValueError(f"labels: conditional cannot be: generator '{name}' does not learn labels")


def agree_on_shown(experiment: Experiment, part: Part, *, key: str) -> None:
    """ValueError if a metric or a curation reads, looks at or needs what the experiment does not have."""
    built = part.build()
    if experiment.features is None and "features" in built.reads:
        raise ValueError(f"{key}: {part.use} needs `features:`, a feature model to measure with")
    if missing := set(getattr(built, "columns", ())) - set(experiment.columns):
        maker = next(iter(experiment.members.values())).part.use
        raise ValueError(f"{key}: {part.use} looks at '{missing.pop()}', '{maker}' makes {', '.join(experiment.columns)}")
    for member in experiment.members.values():
        generator = find("generator", member.part.use)
        for ability in getattr(built, "abilities", ()):
            if not hasattr(generator, ability):
                raise ValueError(f"{key}: {part.use} needs a generator that can `{ability}`, '{member.part.use}' cannot")
            if ability == "detect" and not (member.part.settings.get("sampling") or {}).get("watermark"):
                raise ValueError(f"{key}: {part.use} looks for a watermark and '{member.name}' leaves none; set its sampling.watermark")


def agree_on_names(experiment: Experiment) -> None:
    """ValueError if two metrics give a number of the same name."""
    named: dict[str, str] = {}
    for part in experiment.metrics:
        for number in find("metric", part.use).measures:
            if number in named:
                raise ValueError(f"metrics: {named[number]} and {part.use} both give '{number}'; one name is one number")
            named[number] = part.use


def agree_on_arm(experiment: Experiment, arm: Arm, *, key: str) -> None:
    """ValueError if an arm needs other generators or abilities than the experiment has."""
    if arm.sources != "self" and len(experiment.members) < 2:
        raise ValueError(f"{key}.sources: '{arm.sources}' needs `generators:` with more than one")
    if arm.curation is not None:
        agree_on_shown(experiment, arm.curation, key=f"{key}.curation")
