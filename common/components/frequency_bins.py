"""Whose data vanishes first: what became of the common and of the rare, by how frequent they really are."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np

from .metric import MetricInfo

GROUPS = 10


def frequency_outputs(name: str) -> dict[str, MetricInfo]:
    """The meaning of the numbers of `by_frequency` that start with `name`."""
    source = "Shumailov et al. 2024; Suresh et al. 2024"
    return {
        f"{name}_ratio": MetricInfo("tail", "made share / real share", None, source),
        f"{name}_recall": MetricInfo("tail", "share of kinds", True, source),
    }


FREQUENCY = frequency_outputs("frequency")


def by_frequency(
    real: Mapping[Hashable, float], generated: Mapping[Hashable, float], *, by_mass: bool, name: str = "frequency"
) -> dict[str, float]:
    """For each group of kinds (word types, classes), from the commonest (01) to the rarest, two numbers; `name` is what they start with.

    `frequency_ratio/NN`  its share of what was made, as a multiple of its share of what is real: 1 is right, 0 is gone
    `frequency_recall/NN`  the share of its kinds that were made at all

    Kinds are ranked by real frequency (ties in the order of their names) and cut into ten groups of equal real mass
    (`by_mass`: deciles of what is real) or, where there are few kinds, of equally many kinds.
    """
    ranked = sorted((kind for kind, count in real.items() if count), key=lambda kind: (-real[kind], str(kind)))
    counts = np.array([real[kind] for kind in ranked], dtype=np.float64)
    found = np.array([generated.get(kind, 0) for kind in ranked], dtype=np.float64)
    middle = (np.cumsum(counts) - counts / 2) / counts.sum() if by_mass else (np.arange(len(ranked)) + 0.5) / len(ranked)
    groups = np.minimum((middle * min(GROUPS, len(ranked))).astype(int), GROUPS - 1)
    total = max(1.0, float(sum(generated.values())))
    numbers = {}
    for group in np.unique(groups):
        own = groups == group
        numbers[f"{name}_ratio/{group + 1:02}"] = found[own].sum() / total / (counts[own].sum() / counts.sum())
        numbers[f"{name}_recall/{group + 1:02}"] = float((found[own] > 0).mean())
    return numbers
