"""Translation of names that changed after version 0.1, in both directions, and settings that were added since.

Configs with old names still load. A recipe (the JSON that is hashed to a cache key) keeps the name with which a setting was
introduced, and leaves out an added setting that has its default. So neither invalidates a store. CHANGELOG.md lists the renamed keys
for users.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.errors import UserError

RENAMED_EXPERIMENT_KEYS = {"candidates": "max_candidates_per_row", "floors": "floor_draws"}
RENAMED_ARM_KEYS = {"contamination": "synthetic_fraction", "sources": "learn_from"}
PROMPTS = {"frozen": "fixed"}
RENAMED_COMPONENTS: Mapping[str, Mapping[str, str]] = {
    "metric": {
        "held-out": "perplexity",
        "samples-under-base": "base-perplexity",
        "student": "tstr",
        "student-classifier": "tstr-classifier",
    },
    "features": {"reader": "lm-embedding"},
}
"""For each kind of component, the current name of every old name."""
SYNONYMS: Mapping[str, Mapping[str, str]] = {"metric": {"fid": "frechet", "kid": "kernel-distance"}}
"""By kind: other names that users expect for a component. Cache keys use the component's own name."""


@dataclass(frozen=True)
class RenamedSetting:
    """A renamed setting of a component. `to_new` and `to_old` convert its value if the meaning changed. Names are dotted paths."""

    old: str
    new: str
    to_new: Callable[[Any], Any] = lambda value: value
    to_old: Callable[[Any], Any] = lambda value: value


_WORLDS = RenamedSetting("worlds", "replicates")
_SCALE_OF_VARIANCE = RenamedSetting("sampling.scale", "sampling.variance_scale")
_SCALE_OF_DEVIATION = RenamedSetting("sampling.scale", "sampling.variance_scale", lambda scale: scale**2, math.sqrt)

RENAMED_SETTINGS: Mapping[tuple[str, str], tuple[RenamedSetting, ...]] = {
    ("generator", "gaussian"): (_SCALE_OF_VARIANCE,),
    ("generator", "gmm"): (_SCALE_OF_VARIANCE,),
    ("generator", "vae"): (_SCALE_OF_DEVIATION,),
    ("generator", "diffusion"): (_SCALE_OF_DEVIATION,),
    ("data", "gaussian"): (_WORLDS,),
    ("data", "categorical"): (_WORLDS,),
    ("data", "regression"): (_WORLDS,),
    ("policy", "augment"): (RenamedSetting("made_weight", "synthetic_weight"),),
    ("curation", "prune"): (RenamedSetting("how", "strategy"),),
    ("curation", "token-edit"): (RenamedSetting("above", "threshold"),),
    ("metric", "precision-recall"): (RenamedSetting("at_most", "max_rows"),),
    ("metric", "kernel-distance"): (RenamedSetting("at_most", "max_rows"),),
    ("metric", "density-coverage"): (RenamedSetting("at_most", "max_rows"),),
    ("metric", "self-bleu"): (RenamedSetting("at_most", "max_rows"),),
}
"""For each kind and current name of a component, its renamed settings."""

ADDED_TO_TRAINING: Mapping[str, Any] = {"precision": "float32"}
"""Settings of `Training` that were added after version 0.1, with their defaults, which compute what version 0.1 computed."""


def rename_keys(config: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """Replace old keys of a mapping by new keys, in the same order. Raises UserError if the old and the new key are both set."""
    for old, new in renamed.items():
        if old in config and new in config:
            raise UserError(f"{old}: this key is now called '{new}', which is set too; remove '{old}'")
    return {renamed.get(key, key): value for key, value in config.items()}


def current_component(kind: str, use: str, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Translate old names of a component and its settings to current names. Raises UserError if both names of a setting are set."""
    use = SYNONYMS.get(kind, {}).get(use, use)
    use, settings = RENAMED_COMPONENTS.get(kind, {}).get(use, use), dict(settings)
    for setting in RENAMED_SETTINGS.get((kind, use), ()):
        settings = _move(settings, setting.old.split("."), setting.new.split("."), setting.to_new)
    return use, settings


def recipe_component(kind: str, use: str, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Translate a component and its settings to the names with which they were introduced. Recipes use these names.

    Added settings with their default values are left out.
    """
    settings = dict(settings)
    if isinstance(training := settings.get("training"), Mapping):
        settings["training"] = {name: value for name, value in training.items() if (name, value) not in ADDED_TO_TRAINING.items()}
    for setting in RENAMED_SETTINGS.get((kind, use), ()):
        settings = _move(settings, setting.new.split("."), setting.old.split("."), setting.to_old)
    former = {new: old for old, new in RENAMED_COMPONENTS.get(kind, {}).items()}
    return former.get(use, use), settings


def _move(settings: dict[str, Any], source: list[str], target: list[str], convert: Callable[[Any], Any]) -> dict[str, Any]:
    """Convert the value at the path `source` and move it to the path `target`. The paths differ in their last key only."""
    *parents, old = source
    if parents:
        inner = settings.get(parents[0])
        if not isinstance(inner, Mapping):
            return settings
        return {**settings, parents[0]: _move(dict(inner), source[1:], target[1:], convert)}
    if old not in settings:
        return settings
    new = target[-1]
    if new in settings:
        raise UserError(f"{old}: this setting is now called '{new}', which is set too; remove '{old}'")
    numeric = isinstance(settings[old], int | float) and not isinstance(settings[old], bool)
    return {new if key == old else key: convert(value) if key == old and numeric else value for key, value in settings.items()}
