"""Names that changed after version 0.1: configs with old names still load, and cache keys keep the old names.

A recipe, which is hashed into a cache key, uses the name that a setting had when it was introduced. So renaming a setting here
never invalidates a store. CHANGELOG.md lists the changes for users.
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
"""By kind: old names of components and the names they have now."""


@dataclass(frozen=True)
class RenamedSetting:
    """A setting of a component that has a new name and, if `to_new` is given, a new meaning. Names are dotted paths."""

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
"""By kind and current name of a component: the settings that were renamed."""


def rename_keys(config: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """The same mapping with old keys replaced by new ones, in the same order. UserError if both are given."""
    for old, new in renamed.items():
        if old in config and new in config:
            raise UserError(f"{old}: renamed to '{new}', which is given too; remove '{old}'")
    return {renamed.get(key, key): value for key, value in config.items()}


def current_component(kind: str, use: str, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The current name and settings of a component that may be written with old names. UserError if both names are given."""
    use, settings = RENAMED_COMPONENTS.get(kind, {}).get(use, use), dict(settings)
    for setting in RENAMED_SETTINGS.get((kind, use), ()):
        settings = _move(settings, setting.old.split("."), setting.new.split("."), setting.to_new)
    return use, settings


def recipe_component(kind: str, use: str, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name and settings of a component as they go into recipes: with the names they were introduced with."""
    settings = dict(settings)
    for setting in RENAMED_SETTINGS.get((kind, use), ()):
        settings = _move(settings, setting.new.split("."), setting.old.split("."), setting.to_old)
    former = {new: old for old, new in RENAMED_COMPONENTS.get(kind, {}).items()}
    return former.get(use, use), settings


def _move(settings: dict[str, Any], source: list[str], target: list[str], convert: Callable[[Any], Any]) -> dict[str, Any]:
    """Settings with the value at the path `source` converted and moved to `target`, a path that differs in its last key only."""
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
        raise UserError(f"{old}: renamed to '{new}', which is given too; remove '{old}'")
    numeric = isinstance(settings[old], int | float) and not isinstance(settings[old], bool)
    return {new if key == old else key: convert(value) if key == old and numeric else value for key, value in settings.items()}
