"""Many chains: policies x seeds of one or more experiments, on local worker processes.

    prepare (data, base model, feature model) ──► generation 0 of each seed ──► a chain per policy

A task starts when what it shares with others is in the store, so workers rarely wait for each other. Each worker computes
with one thread: that is faster for small models than one worker with many, and makes results independent of `workers`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..config.schema import Experiment
from ..core.errors import UserError
from ..core.pool import REAL, Pool
from ..core.random_streams import derive
from ..core.resources import machine_fault
from ..loop.chain import chain
from ..loop.stages import Stages
from ..store import ArtifactMissing, Store
from ..store.in_use import Ledger
from .cost_estimate import check_disk_space
from .workers import Event, ProgressCallback, executor, one_thread, tell

SHOWN_ROWS = 12
"""Samples of each generation for the report: drawn beside the chain, from the same noise (and prompts) every time, so that one sees
one sample change. Nothing is trained on or measured of them."""


@dataclass(frozen=True)
class Task:
    """A piece of work for one worker. `policy` None: generation 0 of `seed`; `seed` None as well: what all seeds share."""

    experiment: Experiment
    store: Path
    seed: int | None = None
    policy: str | None = None

    def __str__(self) -> str:
        if self.seed is None:
            return "prepare"
        return f"{self.policy or 'generation 0'}, seed {self.seed}"


@dataclass
class ChainResult:
    """What a chain gave: tidy rows, a few samples of every generation, and where its models are."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    samples: list[Pool] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, tuple[str, float]] = field(default_factory=dict)
    """What the stages cost when they were made: name and seconds, by key."""

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The rows that say how many optimizer steps were taken."""
        return [row for row in self.rows if row["metric"] == "steps"]


def run_all(experiments: Sequence[Experiment], *, store: Path, workers: int, watch: ProgressCallback) -> Mapping[str, ChainResult]:
    """Run all chains of all experiments; the outcome of each by its name, rows in the order of the config.

    Raises UserError for what a user can put right. Whatever was finished before stays in the store.
    """
    Store(store)
    _labs.clear()  # data files may have changed since
    outcomes: dict[tuple[str, str, int], ChainResult] = {}
    prepare = deque(Task(experiment, store) for experiment in experiments)  # what is wrong with any data is said at once
    then: Mapping[str, deque[Task]] = {experiment.name: deque() for experiment in experiments}
    running: dict[Future[ChainResult], Task] = {}
    with executor(workers, watch) as processes:
        while (ready := [tasks for tasks in (prepare, *then.values()) if tasks]) or running:
            if ready and len(running) < workers:
                task = ready[0].popleft()  # one experiment after the other: workers keep the data of few
                running[processes.submit(_perform, task)] = task
                continue
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                task = running.pop(future)
                try:
                    outcome = future.result()
                except BrokenProcessPool as error:
                    raise UserError(
                        f"a worker process died while working on {task.experiment.name} ({task}); out of memory, "
                        "or a script that runs without `if __name__ == '__main__':`? "
                        "What was finished is kept: the same command goes on from there"
                    ) from error
                if task.policy is not None:
                    outcomes[task.experiment.name, task.policy, task.seed] = outcome
                    mine = [one for key, one in outcomes.items() if key[0] == task.experiment.name]
                    _check_equal_steps(task.experiment, [row for one in mine for row in one.steps])
                then[task.experiment.name].extend(_following(task))
    return {experiment.name: _joined(experiment, outcomes) for experiment in experiments}


def _following(task: Task) -> list[Task]:
    wanted = task.experiment
    if task.seed is None:
        return [Task(wanted, task.store, seed) for seed in wanted.seeds]
    if task.policy is None:
        return [Task(wanted, task.store, task.seed, policy) for policy in wanted.arms]
    return []


def _joined(experiment: Experiment, outcomes: Mapping[tuple[str, str, int], ChainResult]) -> ChainResult:
    joined = ChainResult()
    for policy in experiment.arms:
        for seed in experiment.seeds:
            one = outcomes[experiment.name, policy, seed]
            joined.rows += one.rows
            joined.samples += one.samples
            joined.models += one.models
            joined.seconds |= one.seconds
    return joined


def _check_equal_steps(experiment: Experiment, steps: Sequence[Mapping[str, Any]]) -> None:
    """Asked after every chain, so that a comparison that would mean nothing does not run to its end."""
    if experiment.unequal_steps:
        return
    found: dict[tuple[str, int], dict[str, int]] = {}
    for row in steps:
        found.setdefault((row["generator"], row["generation"]), {})[row["policy"]] = int(row["value"])
    for (generator, generation), by_policy in found.items():
        if len(set(by_policy.values())) > 1:
            raise UserError(
                f"{experiment.name}: at generation {generation} policies trained '{generator}' for different numbers of steps "
                f"({by_policy}), so they cannot be compared; set training.steps instead of epochs, or unequal_steps: true if that is meant"
            )


# ---- in the worker ------------------------------------------------------------------------------------------------

LABS = 4
"""Experiments whose data and feature models a worker keeps in memory, those it worked on last."""
_labs: dict[tuple[str, Path], Stages] = {}


def _lab(wanted: Experiment, store: Store) -> Stages:
    key = wanted.yaml(), store.root
    _labs[key] = _labs.pop(key, None) or Stages(wanted, store)
    if len(_labs) > LABS:
        del _labs[next(iter(_labs))]
    return _labs[key]


def _perform(task: Task) -> ChainResult:
    wanted = task.experiment
    stages = _lab(wanted, Store(task.store, used=Ledger.of(wanted.name, wanted.yaml(), store=task.store).note))
    curations = [arm.curation for arm in wanted.arms.values()]
    for part in (*(member.generator for member in wanted.members.values()), wanted.features, *wanted.metrics, *curations):
        if part is not None:
            part.build()  # imports what it needs, torch above all, before threads are limited
    told: set[int] = set()
    with one_thread():
        while True:
            try:
                if task.seed is not None:
                    outcome = _follow(stages, task, told)
                else:
                    outcome = _prepare(stages, task)
                if task.policy is None and task.seed in (None, wanted.seeds[0]):
                    check_disk_space(wanted, task.store, real=stages.real)  # with a generation to judge by, the second time
                return outcome
            except ArtifactMissing as gone:
                stages.again(gone)


def _prepare(stages: Stages, task: Task) -> ChainResult:
    stages.say = lambda what: tell(Event(task.experiment.name, str(task), what))
    with _naming(lambda: f"{task.experiment.name}, {task}"):
        stages.prepare()
    return ChainResult()


def _follow(stages: Stages, task: Task, told: set[int]) -> ChainResult:
    """Go along a chain, to its end or (no policy named) through generation 0 alone, and keep what it gives.

    told: generations of which those who watch have heard that they are done; it grows.
    """
    wanted, outcome, number = task.experiment, ChainResult(), 0
    stages.say = lambda what: tell(Event(wanted.name, str(task), f"generation {number}: {what}"))
    policy = task.policy or next(iter(wanted.arms))
    last = list(wanted.members)[-1]
    real = stages.real.splits["control"].only(wanted.columns).slice(0, SHOWN_ROWS).bare()
    given = None if wanted.prompts == "none" else real.take(np.resize(np.arange(len(real)), SHOWN_ROWS))
    with _naming(lambda: f"{wanted.name}, {task}, generation {number}"):
        for generation in chain(stages, policy=policy, seed=task.seed):
            name, number = generation.member.name, generation.number
            done = name == last
            if task.policy is None:
                if done:
                    break
                continue
            about = {"policy": policy, "generator": name, "seed": task.seed, "generation": number}
            outcome.rows += generation.rows
            outcome.models.append({**about, "key": generation.model.key, **generation.model.manifest["provenance"]})
            if task.seed == wanted.seeds[0]:  # one seed is enough to look at
                shown = stages.sample(generation.member, generation.model, n=SHOWN_ROWS, seed=derive(task.seed, "shown"), given=given)
                outcome.samples.append(shown.note(generation=number, policy=policy, generator=name))
            if done:
                if number not in told:
                    tell(Event(wanted.name, str(task), f"generation {number}", done=True))
                told.add(number)
                number += 1
    if task.seed == wanted.seeds[0] and policy == next(iter(wanted.arms)):
        outcome.samples.insert(0, real.note(generation=REAL, policy="", generator=""))
    outcome.seconds = dict(stages.seconds)
    return outcome


@contextmanager
def _naming(where: Callable[[], str]) -> Iterator[None]:
    """Inside, errors say where they arose. One that neither a user nor the machine can be blamed for is a fault of somebody's code:
    its traceback stays and gets a note."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{where()}: {error}") from error
    except Exception as error:
        if lack := machine_fault(error):
            raise UserError(f"{where()}: {lack}") from error
        error.add_note(f"This happened in {where()}.")
        raise
