"""The loop: policy, fit, sample, measure, collect, generation after generation. Start reading here.

real ──► policy ──► training pool ──► fit ──► model ──► sample ──► generated rows ──► collect ──► pool ──┐
           ▲                                                              │                             │
           │                                                              └──► measure ──► rows         │
           └────────────────────────────────────── history ◄─────────────────────────────────────────────┘

Every step is a stage of the store (see `stages.py`), so following a chain a second time only reads it.
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
    """The rows for rows.parquet: one number each."""


@dataclass(frozen=True)
class ChainSetup:
    """What stays the same along a chain."""

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
    """The rows of `reserve` that the policy does not need itself. Arms with `synthetic_fraction` < 1 collect them."""

    @property
    def experiment(self) -> Experiment:
        return self.stages.experiment


@dataclass
class MemberState:
    """A member of a chain, with what it has produced so far."""

    member: Member
    seed: int
    history: list[Pool] = field(default_factory=list)
    """Collected pools, oldest first."""
    first: Artifact | None = None
    """The model of generation 0."""
    latest: Artifact | None = None
    floors: dict[str, list[float]] = field(default_factory=dict)
    """Floors of each number. They are the same in every generation, so they are measured once."""


def chain(stages: Stages, *, policy: str, seed: int) -> Iterator[Generation]:
    """Yield generation 0, 1, ... of every member of one chain. Generation 0 trains on real data, later ones on what the policy picks.

    policy: the name of an arm of the experiment. Raises UserError if a component breaks its contract.
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
    """Train, sample and measure one generation of a member, and add what it collects to the member's history."""
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
    if not is_last:  # no later generation needs the last one's rows
        collected = collect_pool(setup, state, models, generated, number, notes)
        state.history.append(collected.pool.note(collected=number))
        if setup.arm.curation is not None or setup.arm.synthetic_fraction < 1:
            rows += audit_collected(collected)
    labels = row_labels(setup, member, number)
    return Generation(number, member, train, model, generated, [{**labels, **row} for row in rows])


def history_of(arm: Arm, members: Sequence[MemberState], own: MemberState) -> Iterator[Pool]:
    """The pools that a member learns from, oldest first: its own or, in equal parts, those of the others or of all members."""
    teachers = [state for state in members if arm.learn_from == "union" or (state is own) == (arm.learn_from == "self")]
    for pools in zip(*(state.history for state in teachers), strict=True):
        n, k = len(pools[0]), len(pools)
        yield Pool.concat(pool.slice(0, n // k + (position < n % k)) for position, pool in enumerate(pools))


def sample_batch(setup: ChainSetup, state: MemberState, *, number: int, batch: int, skip: int, n: int) -> Pool:
    """n rows that a member's latest model generates as one batch; `skip` rows were generated in earlier batches.

    The first batch does not depend on the arm's curation, so arms share it.
    """
    assert state.latest is not None
    prompts, given = setup.experiment.prompts, None
    if prompts != "none":
        pool = state.history[-1].bare() if prompts == "synthetic" and number > 0 else setup.real.bare()
        order = stream(state.seed, "prompts", "frozen" if prompts == "fixed" else number).permutation(len(pool))
        given = pool.take(np.resize(order, skip + n)[skip:])  # no prompt is used twice before all are used once
    path: tuple[str | int, ...] = ("sample", number) if batch == 0 else ("sample", number, batch)
    return setup.stages.sample(state.member, state.latest, n=n, seed=derive(state.seed, *path), given=given)


def collect_pool(
    setup: ChainSetup, state: MemberState, models: Inputs, generated: Pool, number: int, notes: dict[str, Any]
) -> CollectedPool:
    """The rows of a generation that become history, after mixing with real rows and curation. UserError if they cannot be filled."""

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
    """A row for every number of every metric, with its floor: the metric on real rows and the model of generation 0."""
    experiment, real_data, n = setup.experiment, setup.stages.real, setup.experiment.eval_size
    inputs: Inputs = {
        **models,
        "generated": generated.slice(0, experiment.size).choose(n, stream(setup.seed, "eval", number)),  # whatever the policy asks for
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
    """The columns that say which generation of which chain a row describes."""
    return {
        "experiment": setup.experiment.name,
        "modality": setup.experiment.modality,
        "data": setup.experiment.data.use,
        "generator": member.name,
        "policy": setup.arm_name,
        "seed": setup.seed,
        "generation": number,
    }
