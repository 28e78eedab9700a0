"""Configs with the names of version 0.1 load, mean the same, and keep their cache keys."""

from __future__ import annotations

import math

import pytest
from autophagy import UserError, experiment
from autophagy.common.config.arms import Arm
from autophagy.common.config.registry import ComponentSpec
from autophagy.common.config.renames import RENAMED_COMPONENTS, RENAMED_SETTINGS, current_component, recipe_component
from support.tiny import ANALYTIC, TEXT


def test_old_keys_of_experiments_and_arms_are_read():
    old = {"candidates": 7, "floors": 3, "prompts": "frozen", "policies": {"a": {"use": "replace", "contamination": 0.5}}}
    new = {
        "max_candidates_per_row": 7,
        "floor_draws": 3,
        "prompts": "fixed",
        "policies": {"a": {"use": "replace", "synthetic_fraction": 0.5}},
    }
    assert (
        experiment({**TEXT, "size": 20, "eval_size": 10, **old}).yaml() == experiment({**TEXT, "size": 20, "eval_size": 10, **new}).yaml()
    )
    assert Arm.parse({"use": "replace", "sources": "union"}).learn_from == "union"


@pytest.mark.parametrize(("kind", "use"), RENAMED_SETTINGS)
def test_renamed_settings_keep_the_recipe(kind, use):
    for setting in RENAMED_SETTINGS[kind, use]:
        *parents, old_name = setting.old.split(".")
        value = 0.7 if setting.to_old is math.sqrt else 3
        old = {old_name: value} if not parents else {parents[0]: {old_name: value}}
        name, current = current_component(kind, use, old)
        assert old_name not in str(current) or setting.new.endswith(old_name)
        _, recipe = recipe_component(kind, name, current)
        assert recipe == old


def test_old_component_names_are_read_and_stay_in_recipes():
    for kind, names in RENAMED_COMPONENTS.items():
        for old, new in names.items():
            assert current_component(kind, old, {})[0] == new
            assert recipe_component(kind, new, {})[0] == old
    spec = ComponentSpec.parse("metric", "held-out")
    assert spec.use == "perplexity"
    assert spec.recipe == {"use": "held-out", "version": 1}


def test_fid_and_kid_name_the_distances_in_feature_space():
    for name, use in {"fid": "frechet", "kid": "kernel-distance"}.items():
        spec = ComponentSpec.parse("metric", name)
        assert spec.use == spec.recipe["use"] == use


def test_an_old_and_a_new_name_together_are_rejected():
    with pytest.raises(UserError, match="floors: this key is now called 'floor_draws', which is set too; remove 'floors'"):
        experiment({**ANALYTIC, "floors": 3, "floor_draws": 3})
    both = {"use": "prune", "how": "quality", "strategy": "quality"}
    with pytest.raises(UserError, match="how: this setting is now called 'strategy', which is set too; remove 'how'"):
        ComponentSpec.parse("curation", both)
