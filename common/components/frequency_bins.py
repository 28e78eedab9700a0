"""Metrics by frequency bin. They show if rare kinds of data (words, classes) vanish before common kinds."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np

from .metric import MetricInfo

MAX_BINS = 10
Kind = TypeVar("Kind", bound=Hashable)


def frequency_outputs(name: str) -> dict[str, MetricInfo]:
    """Describe the numbers that `by_frequency` returns with the prefix `name`."""
    source = "Shumailov et al. 2024; Suresh et al. 2024"
    return {
        f"{name}_ratio": MetricInfo("tail", "made share / real share", None, source),
        f"{name}_recall": MetricInfo("tail", "share of kinds", True, source),
    }


FREQUENCY = frequency_outputs("frequency")


def by_frequency(
    real: Mapping[Kind, float], generated: Mapping[Kind, float], *, by_mass: bool, name: str = "frequency"
) -> dict[str, float]:
    """Compute ratio and recall for each bin of kinds (word types, classes). Bin 01 has the most common kinds.

    `{name}_ratio/NN` is the bin's share of the generated data divided by its share of the real data. The ideal value is 1; 0
    means that the bin has vanished. `{name}_recall/NN` is the fraction of the bin's kinds that were generated at least once.

    real, generated: counts of each kind. Kinds are ranked by real count (ties by name) and divided into at most ten bins. With
    `by_mass`, bins have equal real counts. Without, they have equally many kinds, which suits data with few kinds.
    """
    ranked = sorted((kind for kind, count in real.items() if count), key=lambda kind: (-real[kind], str(kind)))
    real_counts = np.array([real[kind] for kind in ranked], dtype=np.float64)
    generated_counts = np.array([generated.get(kind, 0) for kind in ranked], dtype=np.float64)
    if by_mass:
        quantile = (np.cumsum(real_counts) - real_counts / 2) / real_counts.sum()
    else:
        quantile = (np.arange(len(ranked)) + 0.5) / len(ranked)
    bins = np.minimum((quantile * min(MAX_BINS, len(ranked))).astype(int), MAX_BINS - 1)
    generated_total = max(1.0, float(sum(generated.values())))
    numbers = {}
    for number in np.unique(bins):
        members = bins == number
        real_share = real_counts[members].sum() / real_counts.sum()
        numbers[f"{name}_ratio/{number + 1:02}"] = float(generated_counts[members].sum() / generated_total / real_share)
        numbers[f"{name}_recall/{number + 1:02}"] = float((generated_counts[members] > 0).mean())
    return numbers
