"""The loop: policy, fit, sample, collect, measure, over and over.

real ──► policy ──► train pool ──► fit ──► model ──► sample ──► collect ──► pool ──┐
           ▲                                                                       │
           └─────────────────────────────── history ◄──────────────────────────────┘
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..components.curation import Kept
from ..components.metrics import measure_of
from ..components.policies import Sources, made_rows
from ..config.arms import Arm, Member
from ..core.errors import UserError
from ..core.pool import REAL, Pool
from ..core.random_streams import derive, stream
from ..store import Artifact
from .audit import audit, audit_collected, mean_depth, refuse_drift, row_of
from .collect import Collected, Spare, collect
from .stages import Lab


@dataclass(frozen=True)
class Generation:
    """One generation of one member of a chain: what it trained on, what came of it, and the numbers about it."""

    number: int
    member: Member
    train: Pool
    model: Artifact
    made: Pool
    """What the model makes, before anything is done to it."""
    rows: list[dict[str, Any]]


@dataclass
class _Life:
    """What a member has behind it."""

    member: Member
    seed: int
    history: list[Pool] = field(default_factory=list)
    first: Artifact | None = None
    previous: Artifact | None = None


def chain(lab: Lab, *, policy: str, seed: int) -> Iterator[Generation]:
    """Generation 0, 1, ... of every member of one chain. Generation 0 trains on real data; the policy decides from then on."""
    wanted = lab.experiment
    arm = wanted.arms[policy]
    pick = arm.policy.build()
    real, reserve = (pool.note(generation=REAL, collected=REAL, depth=0.0, source="real") for pool in lab.real.deal(seed))
    spare = Spare(reserve.slice(lab.real.reserved(arm), len(reserve)))
    lives = [_Life(member, derive(seed, "member", name) if place else seed) for place, (name, member) in enumerate(wanted.members.items())]
    for number in range(wanted.generations + 1):
        histories = [tuple(offered(arm, lives, life)) for life in lives]
        for life, history in zip(lives, histories, strict=True):
            train = real
            if number > 0:
                train = pick(Sources(real, reserve, history, number), size=wanted.size, rng=stream(life.seed, "policy", number))
            model = lab.fit(life.member, train, seed=life.seed, generation=number, first=life.first, previous=life.previous)
            fitted = lab.fitted(model)
            if number > 0:
                refuse_drift(train, fitted, pick, size=wanted.size, generation=number)
            life.first, life.previous = life.first or model, model
            notes = {"generation": number, "collected": number, "depth": 1 + mean_depth(train, fitted), "source": life.member.name}
            last = number == wanted.generations
            n = wanted.size if last else made_rows(pick, size=wanted.size, generation=number)
            made = sampled(lab, life, real=real, number=number, batch=0, before=0, n=n).note(**notes)
            shown = {"model": model, "first": life.first, "base": lab.base(life.member) or life.first, "real": real}
            rows = [*audit(train, fitted), *measured(lab, life.member, made=made, shown=shown, seed=seed, number=number)]
            if not last:  # nothing learns from what the last generation makes
                collected = gathered(lab, arm, life, made=made, notes=notes, spare=spare, shown=shown, policy=policy)
                life.history.append(collected.pool.note(collected=number))
                if arm.curation is not None or arm.contamination < 1:
                    rows += audit_collected(collected)
            labels = {
                "experiment": wanted.name,
                "modality": wanted.modality,
                "data": wanted.data.use,
                "generator": life.member.name,
                "policy": policy,
                "seed": seed,
                "generation": number,
            }
            yield Generation(number, life.member, train, model, made, [{**labels, **row} for row in rows])


def offered(arm: Arm, lives: Sequence[_Life], own: _Life) -> Iterator[Pool]:
    """The pools so far that count as a member's history, oldest first: its own or, in equal parts, those of others or of all."""
    whose = [life for life in lives if arm.sources == "union" or (life is own) == (arm.sources == "self")]
    for pools in zip(*(life.history for life in whose), strict=True):
        n, k = len(pools[0]), len(pools)
        yield Pool.concat(pool.slice(0, n // k + (place < n % k)) for place, pool in enumerate(pools))


def sampled(lab: Lab, life: _Life, *, real: Pool, number: int, batch: int, before: int, n: int) -> Pool:
    """n rows of a batch that a member's latest model makes, `before` others having gone before.

    The first batch does not depend on the arm's curation, so arms share it.
    """
    given = None
    if lab.experiment.prompts != "none":
        pool = life.history[-1].bare() if lab.experiment.prompts == "synthetic" and number > 0 else real.bare()
        drawn = "frozen" if lab.experiment.prompts == "frozen" else number
        order = stream(life.seed, "prompts", drawn).permutation(len(pool))
        given = pool.take(np.resize(order, before + n)[before:])  # every row once before one comes again
    path = ("sample", number) if batch == 0 else ("sample", number, batch)
    return lab.sample(life.member, life.previous, n=n, seed=derive(life.seed, *path), given=given)


def gathered(
    lab: Lab, arm: Arm, life: _Life, *, made: Pool, notes: Mapping[str, Any], spare: Spare, shown: Mapping[str, Any], policy: str
) -> Collected:
    """What becomes of made rows before they are history. UserError naming the arm if they cannot be had."""
    number, real = notes["generation"], shown["real"]

    def sample(batch: int, before: int, n: int) -> Pool:
        if batch == 0:
            return made.slice(0, n)
        return sampled(lab, life, real=real, number=number, batch=batch, before=before, n=n).note(**notes)

    def curate(candidates: Pool) -> Kept:
        return lab.curate(arm.curation, life.member, candidates, shown, seed=derive(life.seed, "curate", number))

    most, rng = lab.experiment.candidates, stream(life.seed, "collect", number)
    try:
        return collect(arm, n=len(made), sample=sample, spare=spare, curate=curate, most=most, rng=rng)
    except UserError as error:
        raise UserError(f"policies.{policy}: {error}") from error


def measured(lab: Lab, member: Member, *, made: Pool, shown: Mapping[str, Any], seed: int, number: int) -> Iterator[dict[str, Any]]:
    """A row for every number of every metric, beside its floors: the same metric on real rows in place of made ones and
    generation 0's model."""
    n = lab.experiment.eval_size
    shown = {
        **shown,
        "made": made.slice(0, lab.experiment.size).choose(n, stream(seed, "eval", number)),  # the same rows however many were made
        "heldout": lab.real.splits["heldout"],
        "pool": shown["real"],
        "real": shown["real"].choose(n, stream(seed, "reference")),
    }
    for metric in lab.experiment.metrics:
        instance = metric.build()
        values = lab.measure(metric, member, shown)
        floors = [lab.measure(metric, member, {**shown, **real, "model": shown["first"]}) for real in lab.real.floors]
        for name, value in values.items():
            meaning, known = measure_of(instance, name), [floor[name] for floor in floors if name in floor]
            rows = min(n, getattr(instance, "at_most", n))
            yield row_of(name, meaning.axis, value, meaning.unit, meaning.higher_is_better, n=rows, floors=known)
