"""Random streams: pinned values, since every result depends on them, and independence of names."""

from __future__ import annotations

from autophagy.common.core.random_streams import derive, stream


def test_streams_never_change():
    assert derive(3, "fit", 5) == 8102838538459205635
    assert stream(3, "fit", 5).integers(1000, size=3).tolist() == [337, 330, 799]


def test_different_names_give_different_seeds():
    names = [(0,), (1,), (0, "fit"), (0, "fit", 1), (0, "fit", "1"), (0, "fit1"), (0, "sample", 1)]
    assert len({derive(*name) for name in names}) == len(names)
