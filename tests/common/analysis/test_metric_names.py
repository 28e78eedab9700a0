"""Display names of metrics: the terms of the literature, always with the feature model if there is one."""

from __future__ import annotations

import doctest

import pytest
from autophagy.common.analysis import metric_names
from autophagy.common.analysis.metric_names import FEATURE_METRICS, NAMES, display_name, display_unit, feature_model


def config(features=None, data="digits"):
    return {"features": features, "data": {"use": data}}


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"use": "inception"}, "FID (Inception)"),
        ("inception", "FID (Inception)"),
        ({"use": "classifier"}, "Fréchet distance (digits classifier)"),
        ({"use": "lsa"}, "Fréchet distance (LSA)"),
        ({"use": "my_module:MyFeatures"}, "Fréchet distance (my_module:MyFeatures)"),
        (None, "Fréchet distance"),
    ],
)
def test_frechet_distance_is_named_with_its_feature_model(features, expected):
    assert display_name("frechet_distance", config(features)) == expected


def test_kernel_distance_with_inception_features_is_kid():
    assert display_name("kernel_distance", config("inception")) == "KID (Inception)"
    assert display_name("kernel_distance", config("pixels")) == "Kernel distance (pixels)"


def test_perplexity_is_the_name_of_its_metric():
    assert display_name("heldout_perplexity", config()) == "Perplexity"


def test_ids_without_a_name_are_displayed_as_words():
    assert display_name("pixel_variance") == "Pixel variance"
    assert display_name("my_metric/3") == "My metric: 3"


def test_units_say_generated_instead_of_made():
    assert display_unit("made share / real share") == "generated share / real share"
    assert display_unit("rows x epochs") == "rows × epochs"
    assert display_unit("nats per token") == "nats per token"


def test_names_are_unique_within_a_modality():
    names = [name for id_, name in NAMES.items() if id_ != "heldout_nats"]  # images; text has heldout_nll
    assert len(set(names)) == len(names)
    assert not set(FEATURE_METRICS) & set(NAMES)


def test_config_without_features_has_no_feature_model():
    assert feature_model({}) == feature_model(config()) == ""


def test_examples_in_docstrings():
    assert doctest.testmod(metric_names).failed == 0
