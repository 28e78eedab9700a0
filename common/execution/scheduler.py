"""Runs many chains: policies x seeds of one or more experiments, on local worker processes.

    look up finished chains ──► prepare (data, base model, feature model) ──► generation 0 of each seed ──► a chain per policy

The parent process reads chains whose artifacts are all in the store, so a finished run starts no worker. A task starts when the
stages that it shares with other tasks are in the store, so workers rarely wait for each other. `placement.py` decides which GPU a worker
uses, and how many threads a task uses.
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
from ..core.task_threads import one_thread
from ..loop.chain import Generation, chain
from ..loop.stages import Stages
from ..store import ArtifactMissing, Store
from ..store.in_use import Ledger
from ..store.read_only import ArtifactNotBuilt, ReadOnlyStore
from .cost_estimate import check_disk_space
from .placement import Placement, TaskKind, place
from .workers import Event, ProgressCallback, emit, executor

REPORT_SAMPLES = 12
"""Number of sample rows per generation in the report. All generations use the same noise and prompts, so that readers can follow one
sample over generations. Training and metrics never use these rows."""


@dataclass(frozen=True)
class Task:
    """A unit of work: a chain (`seed` and `policy`), generation 0 of a seed (no `policy`), or the stages that all seeds share (neither)."""

    experiment: Experiment
    store: Path
    seed: int | None = None
    policy: str | None = None

    @property
    def kind(self) -> TaskKind:
        if self.seed is None:
            return "prepare"
        return "generation 0" if self.policy is None else "chain"

    def __str__(self) -> str:
        return self.kind if self.seed is None else f"{self.policy or self.kind}, seed {self.seed}"


@dataclass
class ChainResult:
    """Results of one chain or of all chains of an experiment: rows, samples for the report, and models."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    samples: list[Pool] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, tuple[str, float]] = field(default_factory=dict)
    """By artifact key: name of the stage, and build time in seconds."""

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Rows of the metric `steps` (number of optimizer steps)."""
        return [row for row in self.rows if row["metric"] == "steps"]

    def add(self, other: ChainResult) -> None:
        """Append the results of another chain."""
        self.rows += other.rows
        self.samples += other.samples
        self.models += other.models
        self.seconds |= other.seconds


ChainKey = tuple[str, str, int]
"""Experiment name, policy and seed."""


def run_all(
    experiments: Sequence[Experiment], *, store: Path, workers: int | None, progress: ProgressCallback
) -> Mapping[str, ChainResult]:
    """Run all chains of all experiments. Returns the results by experiment name, with rows in the order of the config.

    workers: number of worker processes. None: the default number for this machine.
    Raises UserError for problems that the user can fix. Finished stages stay in the store after an error.
    """
    Store(store)
    _stages.clear()  # data files may have changed since the last call
    results: dict[ChainKey, ChainResult] = {}
    for experiment in experiments:
        results |= _look_up(experiment, store, progress)
        _check_equal_steps(experiment, results)
    unfinished = [one for one in experiments if any((one.name, policy, seed) not in results for policy in one.arms for seed in one.seeds)]
    if unfinished:
        placement = place(experiments, workers=workers)
        _run_tasks(unfinished, results, store=store, placement=placement, progress=progress)
    return {experiment.name: _join(experiment, results) for experiment in experiments}


def _run_tasks(
    experiments: Sequence[Experiment],
    results: dict[ChainKey, ChainResult],
    *,
    store: Path,
    placement: Placement,
    progress: ProgressCallback,
) -> None:
    """Run the chains that are missing in `results`, and add their results."""
    prepare = deque(Task(experiment, store) for experiment in experiments)  # first, so that errors in any data appear early
    ready: Mapping[str, deque[Task]] = {experiment.name: deque() for experiment in experiments}
    running: dict[Future[ChainResult], Task] = {}
    with executor(placement.workers, progress, placement.environment) as pool:
        while (queues := [tasks for tasks in (prepare, *ready.values()) if tasks]) or running:
            if queues and len(running) < placement.workers:
                task = queues[0].popleft()  # in order of experiments: a worker caches few data sets
                running[pool.submit(_perform, task, placement.threads[task.kind])] = task
                continue
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                task = running.pop(future)
                result = _result_of(future, task)
                if task.policy is not None and task.seed is not None:
                    results[task.experiment.name, task.policy, task.seed] = result
                    _check_equal_steps(task.experiment, results)
                ready[task.experiment.name].extend(_next_tasks(task, results))


def _result_of(future: Future[ChainResult], task: Task) -> ChainResult:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise UserError(
            f"a worker process died while working on {task.experiment.name} ({task}). Either it ran out of memory, or a script calls "
            "`run` without `if __name__ == '__main__':`. Finished stages are kept; the same command continues from there"
        ) from error


def _next_tasks(task: Task, results: Mapping[ChainKey, ChainResult]) -> list[Task]:
    """Return the tasks that can start after `task`, except chains that are already finished."""
    experiment = task.experiment
    missing = [(policy, seed) for seed in experiment.seeds for policy in experiment.arms if (experiment.name, policy, seed) not in results]
    if task.seed is None:
        seeds = dict.fromkeys(seed for _, seed in missing)
        return [Task(experiment, task.store, seed) for seed in seeds]
    if task.policy is None:
        return [Task(experiment, task.store, seed, policy) for policy, seed in missing if seed == task.seed]
    return []


def _join(experiment: Experiment, results: Mapping[ChainKey, ChainResult]) -> ChainResult:
    joined = ChainResult()
    for policy in experiment.arms:
        for seed in experiment.seeds:
            joined.add(results[experiment.name, policy, seed])
    return joined


def _check_equal_steps(experiment: Experiment, results: Mapping[ChainKey, ChainResult]) -> None:
    """Raise UserError if policies take different numbers of optimizer steps and the config does not set `unequal_steps`.

    The scheduler calls this after every chain, so that an invalid comparison stops early.
    """
    if experiment.unequal_steps:
        return
    steps: dict[tuple[str, int], dict[str, int]] = {}
    for key, result in results.items():
        if key[0] == experiment.name:
            for row in result.steps:
                steps.setdefault((row["generator"], row["generation"]), {})[row["policy"]] = int(row["value"])
    for (generator, generation), by_policy in steps.items():
        if len(set(by_policy.values())) > 1:
            raise UserError(
                f"{experiment.name}: generation {generation}: policies train '{generator}' for different numbers of optimizer steps "
                f"({by_policy}), so they cannot be compared. Set training.steps instead of epochs, or unequal_steps: true to allow this"
            )


# ---- finished chains --------------------------------------------------------------------------------------------------


def _look_up(experiment: Experiment, store: Path, progress: ProgressCallback) -> dict[ChainKey, ChainResult]:
    """Return the results of the chains whose artifacts are all in the store.

    Returns none if an earlier run of this experiment did not finish, because workers would verify the same artifacts a second time.
    """
    ledger = Ledger.of(experiment.name, experiment.yaml(), store=store)
    if ledger.path.exists() or not any((store / "artifacts").iterdir()):
        return {}
    stages = Stages(experiment, ReadOnlyStore(store, on_use=ledger.add))
    stages.cache.report = lambda activity: progress(Event(experiment.name, "prepare", activity))
    results: dict[ChainKey, ChainResult] = {}
    try:
        with _error_context(lambda: f"{experiment.name}, prepare"):
            stages.prepare()
    except (ArtifactNotBuilt, ArtifactMissing):
        return {}
    shared = dict(stages.cache.seconds)  # base and feature models: every chain lists them, so that `gc` keeps them
    for seed in experiment.seeds:
        for policy in experiment.arms:
            task = Task(experiment, store, seed, policy)
            try:
                stages.cache.seconds = dict(shared)
                result = _follow(stages, task, reported=set(range(experiment.generations + 1)))
            except (ArtifactNotBuilt, ArtifactMissing):
                continue
            results[experiment.name, policy, seed] = result
            for number in range(experiment.generations + 1):
                progress(Event(experiment.name, str(task), f"generation {number}", done=True))
    return results


# ---- in the worker ----------------------------------------------------------------------------------------------------

CACHED_EXPERIMENTS = 4
"""Number of experiments whose data and feature model a worker keeps in memory (the most recently used)."""
_stages: dict[tuple[str, Path], Stages] = {}


def _stages_of(experiment: Experiment, store: Store) -> Stages:
    key = experiment.yaml(), store.root
    _stages[key] = _stages.pop(key) if key in _stages else Stages(experiment, store)  # moves it to the end
    if len(_stages) > CACHED_EXPERIMENTS:
        del _stages[next(iter(_stages))]
    return _stages[key]


def _perform(task: Task, threads: int) -> ChainResult:
    """Run a task. If an artifact disappears during the task, start again and reuse all existing artifacts."""
    experiment = task.experiment
    ledger = Ledger.of(experiment.name, experiment.yaml(), store=task.store)
    stages = _stages_of(experiment, Store(task.store, on_use=ledger.add))
    reported: set[int] = set()
    with one_thread(large_models=threads):
        while True:
            try:
                result = _prepare(stages, task) if task.seed is None else _follow(stages, task, reported)
                if task.policy is None and task.seed in (None, experiment.seeds[0]):
                    check_disk_space(experiment, task.store, real=stages.real)  # again after generation 0, when costs are known
                return result
            except ArtifactMissing as missing:
                stages.reset_after_loss(missing)


def _prepare(stages: Stages, task: Task) -> ChainResult:
    stages.cache.report = lambda activity: emit(Event(task.experiment.name, str(task), activity))
    with _error_context(lambda: f"{task.experiment.name}, {task}"):
        stages.prepare()
    return ChainResult()


def _follow(stages: Stages, task: Task, reported: set[int]) -> ChainResult:
    """Run a chain and return its results. If the task has no policy, stop after generation 0.

    `reported`: generations that were already reported as done. Updated in place, so that a restart does not report them again.
    """
    assert task.seed is not None
    experiment, result, number = task.experiment, ChainResult(), 0
    stages.cache.report = lambda activity: emit(Event(experiment.name, str(task), f"generation {number}: {activity}"))
    policy = task.policy or next(iter(experiment.arms))
    last_member = list(experiment.members)[-1]
    with _error_context(lambda: f"{experiment.name}, {task}, generation {number}"):
        for generation in chain(stages, policy=policy, seed=task.seed):
            number = generation.number
            is_last_member = generation.member.name == last_member
            if task.policy is None:
                if is_last_member:
                    break
                continue
            _collect(result, generation, stages, task)
            if is_last_member:
                if number not in reported:
                    emit(Event(experiment.name, str(task), f"generation {number}", done=True))
                reported.add(number)
                number += 1
    if task.seed == experiment.seeds[0] and policy == next(iter(experiment.arms)):
        result.samples.insert(0, _real_samples(stages).note(generation=REAL, policy="", generator=""))
    result.seconds = dict(stages.cache.seconds)
    return result


def _collect(result: ChainResult, generation: Generation, stages: Stages, task: Task) -> None:
    """Add one generation to the results of a chain: rows, model and, for the first seed, samples for the report."""
    assert task.seed is not None
    labels = {"policy": task.policy, "generator": generation.member.name, "seed": task.seed, "generation": generation.number}
    result.rows += generation.rows
    result.models.append({**labels, "key": generation.model.key, **generation.model.manifest["provenance"]})
    if task.seed == task.experiment.seeds[0]:
        real = _real_samples(stages)
        given = None if task.experiment.prompts == "none" else real.take(np.resize(np.arange(len(real)), REPORT_SAMPLES))
        samples = stages.sample(generation.member, generation.model, n=REPORT_SAMPLES, seed=derive(task.seed, "shown"), given=given)
        result.samples.append(samples.note(generation=generation.number, policy=task.policy, generator=generation.member.name))


def _real_samples(stages: Stages) -> Pool:
    """Return the real rows that the report shows."""
    return stages.real.splits["control"].only(stages.experiment.columns).slice(0, REPORT_SAMPLES).bare()


@contextmanager
def _error_context(where: Callable[[], str]) -> Iterator[None]:
    """Prefix errors of the user or the machine with `where()`. Other exceptions keep their traceback and get a note."""
    try:
        yield
    except (ArtifactNotBuilt, ArtifactMissing):
        raise
    except UserError as error:
        raise UserError(f"{where()}: {error}") from error
    except Exception as error:
        if fault := machine_fault(error):
            raise UserError(f"{where()}: {fault}") from error
        error.add_note(f"This happened in {where()}.")
        raise
