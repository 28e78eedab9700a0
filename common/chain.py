"""The loop: policy, fit, sample, measure, over and over.

real ──► policy ──► train pool ──► fit ──► model ──► sample ──► made pool ──┐
           ▲                                                                │
           └─────────────────────────── history ◄───────────────────────────┘
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .generator import Fitted
from .lab import Lab
from .metrics import measure_of
from .policies import Sources, made_rows
from .pool import REAL, Pool, births
from .seeds import stream
from .store import Artifact


@dataclass(frozen=True)
class Generation:
    """One generation of a chain: what it trained on, what came of it, and the numbers about it."""

    number: int
    train: Pool
    model: Artifact
    made: Pool
    rows: list[dict[str, Any]]


def chain(lab: Lab, *, policy: str, seed: int) -> Iterator[Generation]:
    """Generation 0, 1, ... of one chain. Generation 0 trains on real data; the policy decides from then on."""
    wanted = lab.experiment
    pick = wanted.policies[policy].build()
    real, reserve = (pool.note(depth=0.0) for pool in lab.deal(seed))
    history: list[Pool] = []
    first = previous = None
    for number in range(wanted.generations + 1):
        if number == 0:
            train = real
        else:
            sources = Sources(real=real, reserve=reserve, history=tuple(history), generation=number)
            train = pick(sources, size=wanted.size, rng=stream(seed, "policy", number))
        model = lab.fit(train, seed=seed, generation=number, first=first, previous=previous)
        n = made_rows(pick, size=wanted.size, generation=number)
        made = lab.sample(model, n=n, seed=seed, generation=number, real=real)
        fitted = Fitted.load(model.folder)
        made = made.note(depth=1 + mean_depth(train, fitted))
        first, previous = first or model, model
        history.append(made)
        rows = [*audit(train, fitted), *measured(lab, made=made, real=real, model=model, first=first, seed=seed, number=number)]
        labels = {
            "experiment": wanted.name,
            "modality": wanted.modality,
            "data": wanted.data.use,
            "generator": wanted.generator.use,
            "policy": policy,
            "seed": seed,
            "generation": number,
        }
        yield Generation(number, train, model, made, [{**labels, **row} for row in rows])


def measured(lab: Lab, *, made: Pool, real: Pool, model: Artifact, first: Artifact, seed: int, number: int) -> Iterator[dict[str, Any]]:
    """A row for every number of every metric, beside its floor: the same metric on real control rows and generation 0's model."""
    n = lab.experiment.eval_size
    shown = {
        "made": made.slice(0, lab.experiment.size).choose(n, stream(seed, "eval", number)),  # the same rows however many were made
        "heldout": lab.splits["heldout"],
        "real": real.choose(n, stream(seed, "reference")),
        "model": model,
        "base": lab.base or first,
    }
    for metric in lab.experiment.metrics:
        values = lab.measure(metric, shown)
        floors = lab.measure(metric, {**shown, "made": lab.splits["control"], "model": first})
        for name, value in values.items():
            meaning = measure_of(metric.build(), name)
            yield row_of(name, meaning.axis, value, meaning.unit, meaning.higher_is_better, floors.get(name), n)


def audit(train: Pool, fitted: Fitted) -> Iterator[dict[str, Any]]:
    """Rows saying what a generation was really trained on, in rows and in the unit its optimizer consumed."""
    n, born = len(train), train.array("_generation")
    yield row_of("steps", "cost", fitted.steps, "optimizer steps", None, None, n)
    yield row_of(f"trained_{fitted.unit}", "cost", fitted.consumed.sum(), fitted.unit, None, None, n)
    yield row_of(
        "real_share", "mixture", fitted.consumed[born == REAL].sum() / fitted.consumed.sum(), f"share of {fitted.unit}", None, None, n
    )
    for name, value in fitted.figures.items():
        yield row_of(f"fit_{name}", "cost", value, "as the generator says", None, None, n)
    yield row_of("depth", "mixture", mean_depth(train, fitted), "models between a row and reality", None, None, n)
    for birth, count in births(train).items():
        name = "real" if birth == REAL else f"generation {birth}"
        yield row_of(f"trained_rows/{name}", "mixture", count, "rows", None, None, n)
        yield row_of(f"trained_{fitted.unit}/{name}", "mixture", fitted.consumed[born == birth].sum(), fitted.unit, None, None, n)


def mean_depth(train: Pool, fitted: Fitted) -> float:
    """How many models lie between a training row and reality, averaged over what the optimizer consumed; 0 for real rows."""
    return float((train.array("_depth") * fitted.consumed).sum() / fitted.consumed.sum())


def row_of(metric: str, axis: str, value: float, unit: str, higher_is_better: bool | None, floor: float | None, n: int) -> dict[str, Any]:
    """One tidy row: a single number and what it means."""
    return {
        "metric": metric, "axis": axis, "value": float(value), "unit": unit, "higher_is_better": higher_is_better,
        "floor": floor, "n": n,
    }  # fmt: skip
