"""Runs one chain. Each generation picks training rows, fits a model, samples, measures and collects a pool. Start reading here.

real ──► policy ──► training pool ──► fit ──► model ──► sample ──► generated rows ──► collect ──► pool ──┐
           ▲                                                              │                             │
           │                                                              └──► measure ──► rows         │
           └────────────────────────────────────── history ◄─────────────────────────────────────────────┘

The store caches every step (see `stages.py`), so a second pass over a finished chain only reads artifacts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..components.curation import CurationResult
from ..components.metric import info_of, rows_compared
from ..components.policy import AvailableData, Policy, rows_to_generate
from ..config.arms import Arm, Member
from ..config.schema import Experiment
from ..core.errors import UserError
from ..core.pool import REAL, Pool
from ..core.random_streams import derive, stream
from ..store import Artifact
from .audit import audit, audit_collected, check_mixture, mean_depth, metric_row
from .collect import CollectedPool, RealReserve, collect
from .stages import Inputs, Stages


@dataclass(frozen=True)
class Generation:
    """One generation of one member of a chain."""

    number: int
    member: Member
    train: Pool
    """The training pool."""
    model: Artifact
    generated: Pool
    """The rows that the model generates, before curation."""
    rows: list[dict[str, Any]]
    """Rows of this generation in rows.parquet. Each row holds one number."""


@dataclass(frozen=True)
class ChainSetup:
    """Parts of a chain that do not change between generations."""

    stages: Stages
    arm_name: str
    arm: Arm
    policy: Policy
    seed: int
    real: Pool
    """The real training pool."""
    reserve: Pool
    """Real rows that no generation has trained on, in random order."""
    collectable: RealReserve
    """The rows of `reserve` that the policy does not use. Arms with `synthetic_fraction` < 1 mix these rows into their pools."""

    @property
    def experiment(self) -> Experiment:
        return self.stages.experiment


@dataclass
class MemberState:
    """State of one member of a chain: its collected pools, models and floors so far."""

    member: Member
    seed: int
    history: list[Pool] = field(default_factory=list)
    """Collected pools, oldest first."""
    first: Artifact | None = None
    """The model of generation 0."""
    latest: Artifact | None = None
    floors: dict[str, list[float]] = field(default_factory=dict)
    """Floors (values between real splits) by metric output. They are equal in all generations, so they are measured once."""


def chain(stages: Stages, *, policy: str, seed: int) -> Iterator[Generation]:
    """Yield generations 0, 1, ... of every member of one chain.

    Generation 0 trains on real data. Later generations train on the rows that the policy picks.
    `policy`: name of an arm of the experiment. Raises UserError if a component breaks its contract.
    """
    experiment = stages.experiment
    arm = experiment.arms[policy]
    real, reserve = (pool.note(generation=REAL, collected=REAL, depth=0.0, source="real") for pool in stages.real.draw_training_pool(seed))
    collectable = RealReserve(reserve.slice(stages.real.reserved(arm), len(reserve)))
    setup = ChainSetup(stages, policy, arm, arm.policy.build(), seed, real, reserve, collectable)
    members = [
        MemberState(member, derive(seed, "member", name) if position else seed)
        for position, (name, member) in enumerate(experiment.members.items())
    ]
    for number in range(experiment.generations + 1):
        histories = [tuple(history_of(arm, members, state)) for state in members]
        for state, history in zip(members, histories, strict=True):
            yield next_generation(setup, state, history, number)


def next_generation(setup: ChainSetup, state: MemberState, history: Sequence[Pool], number: int) -> Generation:
    """Train, sample and measure one generation of a member. Adds the collected pool to the history of the member."""
    stages, experiment, member = setup.stages, setup.experiment, state.member
    train = setup.real
    if number > 0:
        available = AvailableData(setup.real, setup.reserve, history, number)
        train = setup.policy(available, size=experiment.size, rng=stream(state.seed, "policy", number))
    model = stages.fit(member, train, seed=state.seed, generation=number, first=state.first, previous=state.latest)
    fit = stages.fit_result(model)
    if number > 0:
        check_mixture(train, fit, setup.policy, name=setup.arm_name, size=experiment.size, generation=number)
    state.first, state.latest = state.first or model, model

    is_last = number == experiment.generations
    n = experiment.size if is_last else rows_to_generate(setup.policy, size=experiment.size, generation=number)
    notes = {"generation": number, "collected": number, "depth": 1 + mean_depth(train, fit), "source": member.name}
    generated = sample_batch(setup, state, number=number, batch=0, skip=0, n=n).note(**notes)

    models = {"model": model, "first": state.first, "base": stages.base(member) or state.first}
    rows = [*audit(train, fit), *metric_rows(setup, state, models, generated, number)]
    if not is_last:  # no generation trains on the rows of the last one
        collected = collect_pool(setup, state, models, generated, number, notes)
        state.history.append(collected.pool.note(collected=number))
        if setup.arm.curation is not None or setup.arm.synthetic_fraction < 1:
            rows += audit_collected(collected)
    labels = row_labels(setup, member, number)
    return Generation(number, member, train, model, generated, [{**labels, **row} for row in rows])


def history_of(arm: Arm, members: Sequence[MemberState], own: MemberState) -> Iterator[Pool]:
    """Yield the pools that a member learns from, oldest first: its own pools, or equal parts of the pools of other or of all members."""
    teachers = [state for state in members if arm.learn_from == "union" or (state is own) == (arm.learn_from == "self")]
    for pools in zip(*(state.history for state in teachers), strict=True):
        n, k = len(pools[0]), len(pools)
        yield Pool.concat(pool.slice(0, n // k + (position < n % k)) for position, pool in enumerate(pools))


def sample_batch(setup: ChainSetup, state: MemberState, *, number: int, batch: int, skip: int, n: int) -> Pool:
    """Return n rows that the latest model of a member generates as one batch. `skip`: number of rows in earlier batches.

    The first batch does not depend on the curation of the arm, so arms share its artifact.
    """
    assert state.latest is not None
    prompts, given = setup.experiment.prompts, None
    if prompts != "none":
        pool = state.history[-1].bare() if prompts == "synthetic" and number > 0 else setup.real.bare()
        order = stream(state.seed, "prompts", "frozen" if prompts == "fixed" else number).permutation(len(pool))
        given = pool.take(np.resize(order, skip + n)[skip:])  # uses every prompt once before it repeats one
    path: tuple[str | int, ...] = ("sample", number) if batch == 0 else ("sample", number, batch)
    return setup.stages.sample(state.member, state.latest, n=n, seed=derive(state.seed, *path), given=given)


def collect_pool(
    setup: ChainSetup, state: MemberState, models: Inputs, generated: Pool, number: int, notes: dict[str, Any]
) -> CollectedPool:
    """Collect the pool that a generation adds to the history: mix in real rows and curate. Raises UserError if too few rows remain."""

    def sample(batch: int, skip: int, n: int) -> Pool:
        if batch == 0:
            return generated.slice(0, n)
        return sample_batch(setup, state, number=number, batch=batch, skip=skip, n=n).note(**notes)

    def curate(candidates: Pool) -> CurationResult:
        assert setup.arm.curation is not None
        inputs = {**models, "real": setup.real}
        return setup.stages.curate(setup.arm.curation, state.member, candidates, inputs, seed=derive(state.seed, "curate", number))

    try:
        return collect(
            setup.arm,
            n=len(generated),
            sample=sample,
            curate=curate,
            real=setup.collectable,
            max_candidates_per_row=setup.experiment.max_candidates_per_row,
            rng=stream(state.seed, "collect", number),
        )
    except UserError as error:
        raise UserError(f"policies.{setup.arm_name}: {error}") from error


def metric_rows(setup: ChainSetup, state: MemberState, models: Inputs, generated: Pool, number: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each output of each metric. The floor is the same metric for real rows and the model of generation 0."""
    experiment, real_data, n = setup.experiment, setup.stages.real, setup.experiment.eval_size
    inputs: Inputs = {
        **models,
        "generated": generated.slice(0, experiment.size).choose(n, stream(setup.seed, "eval", number)),  # same for all policies
        "heldout": real_data.splits["heldout"],
        "pool": setup.real,
        "real": setup.real.choose(n, stream(setup.seed, "reference")),
    }
    for metric in experiment.metrics:
        values = setup.stages.measure(metric, state.member, inputs)
        if number == 0:
            for draw in real_data.floors:
                floor = setup.stages.measure(metric, state.member, {**inputs, **draw, "model": models["first"]})
                for name, value in floor.items():
                    state.floors.setdefault(name, []).append(value)
        instance = metric.build()
        for name, value in values.items():
            info, floors = info_of(instance, name), state.floors.get(name, ())
            yield metric_row(name, info.axis, value, info.unit, info.higher_is_better, n=rows_compared(instance, n), floors=floors)


def row_labels(setup: ChainSetup, member: Member, number: int) -> dict[str, Any]:
    """Return the columns of rows.parquet that identify the chain and the generation."""
    return {
        "experiment": setup.experiment.name,
        "modality": setup.experiment.modality,
        "data": setup.experiment.data.use,
        "generator": member.name,
        "policy": setup.arm_name,
        "seed": setup.seed,
        "generation": number,
    }
