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

from ..components.curation import CurationResult
from ..components.metric import info_of, rows_compared
from ..components.policy import AvailableData, rows_to_generate
from ..config.arms import Arm, Member
from ..core.errors import UserError
from ..core.pool import REAL, Pool
from ..core.random_streams import derive, stream
from ..store import Artifact
from .audit import audit, audit_collected, check_mixture, mean_depth, metric_row
from .collect import CollectedPool, RealReserve, collect
from .stages import Stages


@dataclass(frozen=True)
class Generation:
    """One generation of one member of a chain: what it trained on, what came of it, and the numbers about it."""

    number: int
    member: Member
    train: Pool
    model: Artifact
    generated: Pool
    """What the model makes, before anything is done to it."""
    rows: list[dict[str, Any]]


@dataclass
class MemberState:
    """What a member has behind it."""

    member: Member
    seed: int
    history: list[Pool] = field(default_factory=list)
    first: Artifact | None = None
    previous: Artifact | None = None


def chain(stages: Stages, *, policy: str, seed: int) -> Iterator[Generation]:
    """Generation 0, 1, ... of every member of one chain. Generation 0 trains on real data; the policy decides from then on."""
    wanted = stages.experiment
    arm = wanted.arms[policy]
    pick = arm.policy.build()
    real, reserve = (pool.note(generation=REAL, collected=REAL, depth=0.0, source="real") for pool in stages.real.split_pool(seed))
    spare = RealReserve(reserve.slice(stages.real.reserved(arm), len(reserve)))
    lives = [
        MemberState(member, derive(seed, "member", name) if place else seed) for place, (name, member) in enumerate(wanted.members.items())
    ]
    for number in range(wanted.generations + 1):
        histories = [tuple(history_of(arm, lives, life)) for life in lives]
        for life, history in zip(lives, histories, strict=True):
            train = real
            if number > 0:
                train = pick(AvailableData(real, reserve, history, number), size=wanted.size, rng=stream(life.seed, "policy", number))
            model = stages.fit(life.member, train, seed=life.seed, generation=number, first=life.first, previous=life.previous)
            fitted = stages.fitted(model)
            if number > 0:
                check_mixture(train, fitted, pick, size=wanted.size, generation=number)
            life.first, life.previous = life.first or model, model
            notes = {"generation": number, "collected": number, "depth": 1 + mean_depth(train, fitted), "source": life.member.name}
            last = number == wanted.generations
            n = wanted.size if last else rows_to_generate(pick, size=wanted.size, generation=number)
            generated = sample_batch(stages, life, real=real, number=number, batch=0, before=0, n=n).note(**notes)
            shown = {"model": model, "first": life.first, "base": stages.base(life.member) or life.first, "real": real}
            rows = [*audit(train, fitted), *metric_rows(stages, life.member, generated=generated, shown=shown, seed=seed, number=number)]
            if not last:  # nothing learns from what the last generation makes
                collected = collect_pool(stages, arm, life, generated=generated, notes=notes, spare=spare, shown=shown, policy=policy)
                life.history.append(collected.pool.note(collected=number))
                if arm.curation is not None or arm.synthetic_fraction < 1:
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
            yield Generation(number, life.member, train, model, generated, [{**labels, **row} for row in rows])


def history_of(arm: Arm, lives: Sequence[MemberState], own: MemberState) -> Iterator[Pool]:
    """The pools so far that count as a member's history, oldest first: its own or, in equal parts, those of others or of all."""
    whose = [life for life in lives if arm.learn_from == "union" or (life is own) == (arm.learn_from == "self")]
    for pools in zip(*(life.history for life in whose), strict=True):
        n, k = len(pools[0]), len(pools)
        yield Pool.concat(pool.slice(0, n // k + (place < n % k)) for place, pool in enumerate(pools))


def sample_batch(stages: Stages, life: MemberState, *, real: Pool, number: int, batch: int, before: int, n: int) -> Pool:
    """n rows of a batch that a member's latest model makes, `before` others having gone before.

    The first batch does not depend on the arm's curation, so arms share it.
    """
    given = None
    if stages.experiment.prompts != "none":
        pool = life.history[-1].bare() if stages.experiment.prompts == "synthetic" and number > 0 else real.bare()
        drawn = "frozen" if stages.experiment.prompts == "fixed" else number
        order = stream(life.seed, "prompts", drawn).permutation(len(pool))
        given = pool.take(np.resize(order, before + n)[before:])  # every row once before one comes again
    path = ("sample", number) if batch == 0 else ("sample", number, batch)
    return stages.sample(life.member, life.previous, n=n, seed=derive(life.seed, *path), given=given)


def collect_pool(
    stages: Stages,
    arm: Arm,
    life: MemberState,
    *,
    generated: Pool,
    notes: Mapping[str, Any],
    spare: RealReserve,
    shown: Mapping[str, Any],
    policy: str,
) -> CollectedPool:
    """What becomes of made rows before they are history. UserError naming the arm if they cannot be had."""
    number, real = notes["generation"], shown["real"]

    def sample(batch: int, before: int, n: int) -> Pool:
        if batch == 0:
            return generated.slice(0, n)
        return sample_batch(stages, life, real=real, number=number, batch=batch, before=before, n=n).note(**notes)

    def curate(candidates: Pool) -> CurationResult:
        return stages.curate(arm.curation, life.member, candidates, shown, seed=derive(life.seed, "curate", number))

    most, rng = stages.experiment.max_candidates_per_row, stream(life.seed, "collect", number)
    try:
        return collect(arm, n=len(generated), sample=sample, spare=spare, curate=curate, most=most, rng=rng)
    except UserError as error:
        raise UserError(f"policies.{policy}: {error}") from error


def metric_rows(
    stages: Stages, member: Member, *, generated: Pool, shown: Mapping[str, Any], seed: int, number: int
) -> Iterator[dict[str, Any]]:
    """A row for every number of every metric, beside its floors: the same metric on real rows in place of made ones and
    generation 0's model."""
    n = stages.experiment.eval_size
    shown = {
        **shown,
        "generated": generated.slice(0, stages.experiment.size).choose(
            n, stream(seed, "eval", number)
        ),  # the same rows however many were made
        "heldout": stages.real.splits["heldout"],
        "pool": shown["real"],
        "real": shown["real"].choose(n, stream(seed, "reference")),
    }
    for metric in stages.experiment.metrics:
        instance = metric.build()
        values = stages.measure(metric, member, shown)
        floors = [stages.measure(metric, member, {**shown, **real, "model": shown["first"]}) for real in stages.real.floors]
        for name, value in values.items():
            meaning, known = info_of(instance, name), [floor[name] for floor in floors if name in floor]
            rows = rows_compared(instance, n)
            yield metric_row(name, meaning.axis, value, meaning.unit, meaning.higher_is_better, n=rows, floors=known)
