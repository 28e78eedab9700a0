"""The metric contract: declared inputs, and a meaning for every number."""

from __future__ import annotations

import pytest
from autophagy.common.config.registry import registered
from support.metric_inputs import inputs
from support.tiny import ROOT


def test_every_metric_describes_its_numbers():
    for name, point in registered("metric").items():
        metric = point.load()
        assert metric.__doc__, name
        for info in metric.outputs.values():
            assert info.unit, name
            assert info.source, name
            assert info.axis in ("fidelity", "diversity", "tail", "memorisation", "likelihood", "mixture", "cost")


def test_metric_can_read_declared_inputs_only():
    with pytest.raises(AttributeError, match=r"test reads the input 'train', but its `reads` names \['generated'\]"):
        _ = inputs(generated=1).train


def test_docs_list_every_number_with_axis_and_unit():
    page = (ROOT / "docs" / "metrics.md").read_text()
    for name, point in registered("metric").items():
        assert f"\n| `{name}` |" in page, f"{name} is not in docs/metrics.md"
        for number, info in point.load().outputs.items():
            if not number.endswith("_se"):
                lines = [line for line in page.splitlines() if f"| `{number}" in line and f"`{name}`" in line]
                assert any(f"| {info.axis} |" in line and f"| {info.unit} |" in line for line in lines), f"{number} of {name}"
