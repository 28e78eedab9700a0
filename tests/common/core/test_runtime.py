"""The runtime settings: environment variables with defaults, validated in one place."""

from __future__ import annotations

import pytest
from autophagy import UserError
from autophagy.common.core import runtime


def test_defaults_apply_if_nothing_is_set(monkeypatch):
    monkeypatch.delenv(runtime.DEVICE_VARIABLE, raising=False)
    monkeypatch.delenv(runtime.CHECKPOINT_VARIABLE, raising=False)
    assert runtime.requested_device() == "auto"
    assert runtime.checkpoint_seconds() == 60


def test_configured_values_are_read_back(monkeypatch):
    monkeypatch.setenv(runtime.DEVICE_VARIABLE, "auto")
    monkeypatch.setenv(runtime.CHECKPOINT_VARIABLE, "60")
    monkeypatch.setenv(runtime.COMPILE_VARIABLE, "0")
    runtime.configure(device="cpu", checkpoint_seconds=2.5, compile_models=True)
    assert runtime.compile_requested()
    assert runtime.requested_device() == "cpu"
    assert runtime.checkpoint_seconds() == 2.5


@pytest.mark.parametrize("value", ["often", "-1", "nan"])
def test_invalid_checkpoint_interval_is_rejected(value, monkeypatch):
    monkeypatch.setenv(runtime.CHECKPOINT_VARIABLE, value)
    with pytest.raises(UserError, match=f"AUTOPHAGY_CHECKPOINT_SECONDS: must be a number of seconds >= 0 .*not '{value}'"):
        runtime.checkpoint_seconds()
