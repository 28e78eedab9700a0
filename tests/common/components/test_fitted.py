"""Attributes that `fit` and `load` set."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pytest
from autophagy.analytic.gaussian import Gaussian
from autophagy.common.components.fitted import Fitted


@dataclass
class Model:
    width: int = 3
    _network_shape = Fitted[tuple[int, ...]]()


def test_reading_before_fit_says_what_to_call():
    with pytest.raises(ValueError, match="^Model has no network shape yet; call `fit` or `load` first$"):
        Model()._network_shape  # noqa: B018


def test_value_belongs_to_one_model():
    first, second = Model(), Model()
    first._network_shape = (1, 2)
    assert first._network_shape == (1, 2)
    with pytest.raises(ValueError, match="Model has no network shape yet"):
        second._network_shape  # noqa: B018


def test_fitted_attribute_is_not_a_setting():
    assert [field.name for field in fields(Model)] == ["width"]


def test_class_shows_the_ability_before_a_fit():
    assert hasattr(Gaussian, "covariance")


def test_unfitted_generator_cannot_sample():
    with pytest.raises(ValueError, match="Gaussian has no mean yet; call `fit` or `load` first"):
        Gaussian().sample(3, seed=0)


def test_subclass_may_change_a_fitted_value():
    model = Gaussian()
    model.mean = np.ones((2, 1))
    model.mean = model.mean * 0
    assert not model.mean.any()
