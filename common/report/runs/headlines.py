"""What a reader wants to know first, read off the summary: which policy goes first, which modality, what is lost first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas

SHARED = ("fidelity", "diversity", "tail")
"""Axes whose numbers mean the same in every modality; likelihoods have units of their own."""
NAMED = 3
"""Of what is lost, so many are named."""


def headline(found: pandas.DataFrame) -> str:
    """The number a run is judged by: the first of its config's first metric that has a better and a worse."""
    judged = found[found.higher_is_better.notna()]
    return (judged if len(judged) else found).metric.iloc[0]


def by_policy(arms: pandas.DataFrame) -> list[dict[str, Any]]:
    """How each policy fared by the headline number: the earliest onset first, then the greatest change for the worse."""
    own = arms[arms.metric == headline(arms)].copy()
    own["onset"] = own.onset.where(own.onsets == own.seeds)  # a policy has gone when all of its chains have
    return own.sort_values(["onset", "worse"], ascending=[True, False], na_position="last").to_dict("records")


def lost_first(arms: pandas.DataFrame, policy: str) -> dict[str, Any]:
    """What a policy loses of what can be lost (diversity and tails), beyond noise in every chain.

    `halved`: what falls to half of generation 0's value, by when it does. `rest`: the others, by the share that is gone at the end.
    `asked`: whether anything was measured that can be lost.
    """
    own = arms[(arms.policy == policy) & arms.axis.isin(["diversity", "tail"]) & arms.higher_is_better.eq(True)]
    asked, own = len(own) > 0, own[own.onsets == own.seeds]
    own = own.assign(gone=1 - own.ratio)
    halved = own.half_lives == own.seeds
    rest = own[~halved].sort_values("gone", ascending=False).head(NAMED)
    return {"halved": own[halved].sort_values("half_life").to_dict("records"), "rest": rest.to_dict("records"), "asked": asked}


def shared_metrics(runs: Mapping[str, pandas.DataFrame]) -> list[str]:
    """Numbers of fidelity, diversity and tails that all runs have, where every generation 0 has a distance from its floor and, of
    what can be lost, something to lose."""
    first = next(iter(runs.values()))
    judged = first[first.axis.isin(SHARED) & first.higher_is_better.notna()].metric.unique()
    own = {metric: [arms[arms.metric == metric] for arms in runs.values()] for metric in judged}
    return [metric for metric, found in own.items() if all(len(arms) and min(map(abs, _starts(arms))) > 1e-9 for arms in found)]


def _starts(arms: pandas.DataFrame) -> tuple[float, float]:
    """Generation 0's distance from the floor, and what changes for the worse are measured in: of what can be lost, what there was."""
    first, apart = arms["first"].mean(), arms["first"].mean() - arms.floor.mean()
    return apart, first if arms.higher_is_better.iloc[0] else apart


def which_sooner(runs: Mapping[str, pandas.DataFrame]) -> dict[str, Any] | None:
    """Of two runs, which has moved further under the policy that both have and that moves them most; None if they share nothing.

    Judged by their first shared number, on its own floor and generation 0 in each run. `agree` counts the shared numbers on which
    the same run has moved further.
    """
    metrics = shared_metrics(runs)
    common = set.intersection(*(set(arms.policy) for arms in runs.values()))
    if len(runs) != 2 or not metrics or not common:
        return None
    moved = {metric: {name: _moved(arms[arms.metric == metric]) for name, arms in runs.items()} for metric in metrics}
    policy = max(common, key=lambda one: sum(found[one]["mean"] for found in moved[metrics[0]].values()))
    further = {metric: max(found, key=lambda name: found[name][policy]["mean"]) for metric, found in moved.items()}
    ends = {name: found[policy] for name, found in moved[metrics[0]].items()}
    sooner, other = sorted(ends, key=lambda name: -ends[name]["mean"])
    return {
        "metric": metrics[0],
        "policy": policy,
        "sooner": sooner,
        "other": other,
        "ends": ends,
        "apart": ends[sooner]["low"] > ends[other]["high"],
        "agree": sum(name == sooner for name in further.values()),
        "of": len(metrics),
        "others": [metric for metric, name in further.items() if name != sooner],
    }


def _moved(arms: pandas.DataFrame) -> dict[str, dict[str, float]]:
    """How far each policy has come for the worse since generation 0: of what can be lost, as a share of what there was; of a
    distance, as multiples of generation 0's distance from the floor."""
    start = abs(_starts(arms)[1])
    ends = {"mean": "worse", "low": "worse_low", "high": "worse_high"}
    return {line["policy"]: {name: line[end] / start for name, end in ends.items()} for line in arms.to_dict("records")}


def tally(verdicts: Iterator[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Verdicts as lines of a table: a definition, and for each policy the verdict with the metrics behind it."""
    lines: dict[str, dict[str, Any]] = {}
    for one in verdicts:
        line = lines.setdefault(one["definition"], {"definition": one["definition"], "asks": one["asks"], "cells": {}})
        share = sum(one["shares"].values()) / max(1, len(one["shares"]))
        behind = "; ".join(f"{metric}: {_said(share)}" for metric, share in one["shares"].items())
        line["cells"][one["policy"]] = {"verdict": one["verdict"], "share": share, "behind": behind}
    return list(lines.values())


def _said(share: float) -> str:
    return {1.0: "yes", 0.0: "no"}.get(share, f"{share:.0%} of chains")
