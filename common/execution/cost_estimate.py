"""What a run would take before it is started: generations that are still to be made, time, disk and memory.

Nobody can know what a generation of an unknown model on an unknown machine costs. So what the store already has of an experiment is
taken as a sample of the rest: once a generation is there, the others are estimated from it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from ..components.policies import rows_to_generate
from ..config.schema import Experiment
from ..core.errors import UserError
from ..core.resources import free_disk
from ..loop.chain import chain
from ..loop.real_data import RealData
from ..loop.stages import Stages
from ..store import Artifact, ArtifactMissing, Store

SPARE_BYTES = 100_000_000
"""No run is begun if less than this would be left on the disk."""


@dataclass(frozen=True)
class Plan:
    """What running one experiment would take. Numbers of generations count every member of every chain."""

    left: int
    """Generations that are to be made; what chains share counts once."""
    kept: int
    """Generations that the store has whole."""
    rows: Mapping[str, int]
    """Of every split of the data."""
    bytes: int
    """What the others would add to the store; what their rows alone would, where `seconds` is None."""
    seconds: float | None
    """Of one processor that the others would take; None: the store has no generation to judge by."""
    peak_bytes: int | None
    """Memory that a worker would need at its fullest; None as for `seconds`."""


class _Missing(Exception):
    """The store has no such artifact."""


class ReadOnlyStore(Store):
    """A store in which nothing is made, and what was found in it."""

    def __init__(self, root: Path):
        super().__init__(root)
        self.found: dict[str, Artifact] = {}

    def make(self, recipe: Mapping[str, Any], build: Callable[[Path, Path], None], **_: Any) -> Artifact:
        found = self.find(recipe)
        if found is None:
            raise _Missing
        self.found[found.key] = found
        return found


def plan(experiment: Experiment, store: Path, *, real: RealData | None = None, first_only: bool = False) -> Plan:
    """What running an experiment would take, judged by what the store has of it. Makes nothing; loads the data unless `real` has it.

    first_only: look for generation 0 of the first seed alone and count all else as to be made: quick, and never too little.
    """
    real = real or RealData(experiment)
    rows = {name: len(pool) for name, pool in real.splits.items()}  # first of all: what is wrong with the data shows now
    nothing = Plan(_generations(experiment, {}), 0, rows, _row_bytes(real), None, None)
    if not os.path.lexists(store):
        return nothing
    there = ReadOnlyStore(store)
    stages = Stages(experiment, there, real=real)
    try:
        stages.prepare()
    except (_Missing, ArtifactMissing):  # gone: another process is freeing it
        return nothing
    shared, models, done = set(there.found), set[str](), {}
    chains, most = list(product(experiment.seeds, experiment.arms)), experiment.generations + 1
    if first_only:
        chains, most = chains[:1], 1
    for seed, policy in chains:
        done[seed, policy] = _walk(stages, policy, seed, models, most=most)
    left = _generations(experiment, done)
    if not models:
        return nothing
    generated = [artifact for key, artifact in there.found.items() if key not in shared]
    each = left / len(models)
    return Plan(
        left,
        len(models),
        rows,
        round(each * sum(artifact.n_bytes for artifact in generated)),
        each * sum(artifact.manifest["provenance"]["seconds"] for artifact in generated),
        max(artifact.manifest["provenance"].get("peak_bytes", 0) for artifact in there.found.values()) or None,
    )


def check_disk_space(experiment: Experiment, store: Path, *, real: RealData) -> None:
    """UserError if what is to be made would not fit on the store's disk, as far as that can be known."""
    room = free_disk(store) - SPARE_BYTES
    if plan(experiment, store, real=real, first_only=True).bytes <= room:
        return
    needed = plan(experiment, store, real=real).bytes  # what is there already may be all there is to do
    if needed > max(room, 0):
        raise UserError(
            f"--store {store}: this would add about {needed / 1e6:,.0f} MB, {(room + SPARE_BYTES) / 1e6:,.0f} MB are free on its disk and "
            f"{SPARE_BYTES / 1e6:,.0f} MB of them are to stay so; `autophagy gc` frees what no kept run needs"
        )


def _walk(stages: Stages, policy: str, seed: int, models: set[str], *, most: int) -> int:
    """How many generations of a chain the store has, `most` at most; the keys of their models go into `models`."""
    members, found = len(stages.experiment.members), 0
    try:
        for generation in chain(stages, policy=policy, seed=seed):
            models.add(generation.model.key)
            found += 1
            if found == most * members:
                break
    except (_Missing, ArtifactMissing):
        pass
    return found // members


def _generations(experiment: Experiment, done: Mapping[tuple[int, str], int]) -> int:
    """Generations to be made, where so many of some chains are done: generation 0 once a seed, the others once a chain."""
    zero = sum(not any(done.get((seed, policy)) for policy in experiment.arms) for seed in experiment.seeds)
    later = sum(experiment.generations + 1 - max(1, done.get((seed, policy), 0)) for seed in experiment.seeds for policy in experiment.arms)
    return (zero + later) * len(experiment.members)


def _row_bytes(real: RealData) -> int:
    """What the rows of all generations will take, if made ones are as big as real ones."""
    wanted = real.experiment
    train = real.splits["train"].only(wanted.columns)
    policies = [arm.policy.build() for arm in wanted.arms.values()]
    rows = sum(
        rows_to_generate(policy, size=wanted.size, generation=number) for policy in policies for number in range(wanted.generations + 1)
    )
    return round(rows * len(wanted.seeds) * len(wanted.members) * train.table.nbytes / len(train))
