"""Numbers by frequency: which kinds of data vanish first."""

from __future__ import annotations

import numpy as np
import pytest
from autophagy.common.components.frequency_bins import by_frequency


def test_ratio_and_recall_show_vanished_kinds():
    real = {"a": 50, "b": 30, "c": 15, "d": 5}
    same = by_frequency(real, real, by_mass=False)
    assert all(value == pytest.approx(1) for value in same.values())
    collapsed = by_frequency(real, {"a": 200}, by_mass=False)
    assert [collapsed[f"frequency_ratio/{n:02}"] for n in (1, 2, 3, 4)] == [2, 0, 0, 0]
    assert [collapsed[f"frequency_recall/{n:02}"] for n in (1, 2, 3, 4)] == [1, 0, 0, 0]
    empty = by_frequency(real, {}, by_mass=True)
    assert all(value == 0 for value in empty.values())


def test_bins_by_mass_hold_equal_real_mass():
    rng = np.random.default_rng(0)
    real = {f"w{rank}": int(20_000 / (rank + 1)) + 1 for rank in range(3000)}
    kinds, chances = list(real), np.array(list(real.values())) / sum(real.values())
    sample = dict(zip(*np.unique(rng.choice(kinds, 50_000, p=chances), return_counts=True), strict=True))
    numbers = by_frequency(real, sample, by_mass=True)
    ratios = [value for name, value in numbers.items() if "ratio" in name]
    assert len(ratios) >= 8 and np.allclose(ratios, 1, atol=0.1)
    recalls = [value for name, value in sorted(numbers.items()) if "recall" in name]
    assert recalls[0] == 1 > recalls[-1], "rare kinds are missed first"
