"""Verdicts on model collapse: decides for each policy which definitions of collapse it meets (Schaeffer et al. 2025)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .summary import ChainSummary

MODE_METRICS = ("recall", "coverage")
Answer = Literal["yes", "no", "partly", "not measured"]


@dataclass(frozen=True)
class Definition:
    """One definition of model collapse (Schaeffer et al. 2025)."""

    name: str
    criterion: str
    """Text of the criterion, for readers."""
    applies: Callable[[ChainSummary], bool]
    """Returns True if the metric of a chain is relevant to the definition."""
    shows: Callable[[ChainSummary], bool]
    """Returns True if a chain meets the criterion."""
    generations: int = 1
    """Minimum number of generations after generation 0."""


@dataclass(frozen=True)
class Verdict:
    """Verdict on one policy and one definition of collapse.

    The answer is 'yes' if every chain of every relevant metric meets the definition, and 'no' if none does. It is 'partly' if metrics or
    chains disagree, and 'not measured' if the run has no relevant metric or its chains are too short.
    """

    definition: str
    criterion: str
    policy: str
    answer: Answer
    shares: Mapping[str, float]
    """Share of chains that meet the definition, by metric."""


def _beyond_noise(chain: ChainSummary) -> bool:
    return not np.isnan(chain.onset)


def _is_risk(chain: ChainSummary) -> bool:
    return chain.axis in ("likelihood", "fidelity") and chain.higher_is_better is False


def _can_be_lost(axis: str) -> Callable[[ChainSummary], bool]:
    return lambda chain: chain.axis == axis and chain.higher_is_better is True and chain.metric not in MODE_METRICS


DEFINITIONS = (
    Definition(
        "Any increase of risk",
        "Held-out loss or the distance to real data is greater than at generation 0, beyond noise.",
        _is_risk,
        _beyond_noise,
    ),
    Definition(
        "Unbounded risk",
        "Risk increases beyond noise, and the increase in the second half of the chain is at least half as fast as in the first.",
        _is_risk,
        lambda chain: _beyond_noise(chain) and chain.late >= chain.early / 2,
        generations=4,
    ),
    Definition(
        "Variance to zero",
        "Diversity is below half of its value at generation 0, and it still decreases in the second half of the chain.",
        _can_be_lost("diversity"),
        lambda chain: _beyond_noise(chain) and chain.ratio < 0.5 and chain.late > 0,
        generations=4,
    ),
    Definition(
        "Tail loss",
        "Rare content is generated less often than at generation 0, beyond noise.",
        _can_be_lost("tail"),
        _beyond_noise,
    ),
    Definition(
        "Mode loss",
        "Parts of the real distribution that generation 0 covered are no longer covered, beyond noise.",
        lambda chain: chain.metric in MODE_METRICS,
        _beyond_noise,
    ),
    Definition(
        "Changed scaling law",
        "More data improves the model less than the scaling law predicts. A test needs runs of several sizes.",
        lambda chain: False,
        _beyond_noise,
    ),
)


def verdicts(chains: Sequence[ChainSummary], *, generations: int) -> Iterator[Verdict]:
    """Yield a verdict for every definition and policy. `generations` is the number of the last generation."""
    for definition in DEFINITIONS:
        for policy in dict.fromkeys(chain.policy for chain in chains):
            evidence: dict[str, list[bool]] = {}
            for chain in chains:
                if chain.policy == policy and definition.applies(chain):
                    evidence.setdefault(chain.metric, []).append(definition.shows(chain))
            shares = {metric: sum(shown) / len(shown) for metric, shown in evidence.items()}
            yield Verdict(definition.name, definition.criterion, policy, _answer(shares, generations >= definition.generations), shares)


def _answer(shares: Mapping[str, float], long_enough: bool) -> Answer:
    if not shares or not long_enough:
        return "not measured"
    if set(shares.values()) == {1.0}:
        return "yes"
    return "no" if set(shares.values()) == {0.0} else "partly"
