"""Estimates what a run needs before it starts: generations to build, time, disk and memory.

The cost of a generation of an unknown model on an unknown machine cannot be predicted. So the estimate extrapolates from the
generations that the store already has.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from ..components.policy import rows_to_generate
from ..config.schema import Experiment
from ..core.errors import UserError
from ..core.resources import free_disk
from ..loop.chain import chain
from ..loop.real_data import RealData
from ..loop.stages import Stages
from ..store import ArtifactMissing
from ..store.read_only import ArtifactNotBuilt, ReadOnlyStore

RESERVED_BYTES = 100_000_000
"""A run is refused if it would leave less than this free on the disk."""


@dataclass(frozen=True)
class CostEstimate:
    """What running one experiment needs. Generations are counted for every member of every chain."""

    missing: int
    """Generations to build. A generation that chains share counts once."""
    finished: int
    """Generations that the store has complete."""
    rows: Mapping[str, int]
    """Rows of each split of the data."""
    bytes: int
    """Disk space that missing generations add. If `seconds` is None, the size of their rows alone."""
    seconds: float | None
    """Time of one processor for the missing generations. None if the store has no generation to extrapolate from."""
    peak_bytes: int | None
    """Peak memory of a worker. None as for `seconds`."""


def estimate_cost(experiment: Experiment, store: Path, *, real: RealData | None = None, first_only: bool = False) -> CostEstimate:
    """Estimate what running an experiment needs, from what the store has of it. Builds nothing; loads the data unless `real` is given.

    first_only: look up generation 0 of the first seed only and count all others as missing. Quick, and never too low.
    """
    real = real or RealData(experiment)
    rows = {name: len(pool) for name, pool in real.splits.items()}  # first, so that faults in the data show at once
    unknown = CostEstimate(_count_missing(experiment, {}), 0, rows, _bytes_of_rows(real), None, None)
    if not os.path.lexists(store):
        return unknown
    view = ReadOnlyStore(store)
    stages = Stages(experiment, view, real=real)
    try:
        stages.prepare()
    except (ArtifactNotBuilt, ArtifactMissing):
        return unknown
    shared, models = set(view.found), set[str]()
    chains, limit = list(product(experiment.seeds, experiment.arms)), experiment.generations + 1
    if first_only:
        chains, limit = chains[:1], 1
    finished = {(seed, policy): _count_finished(stages, policy, seed, models, limit=limit) for seed, policy in chains}
    if not models:
        return unknown
    missing = _count_missing(experiment, finished)
    built = [artifact for key, artifact in view.found.items() if key not in shared]
    ratio = missing / len(models)
    return CostEstimate(
        missing,
        len(models),
        rows,
        round(ratio * sum(artifact.n_bytes for artifact in built)),
        ratio * sum(artifact.manifest["provenance"]["seconds"] for artifact in built),
        max(artifact.manifest["provenance"].get("peak_bytes", 0) for artifact in view.found.values()) or None,
    )


def check_disk_space(experiment: Experiment, store: Path, *, real: RealData) -> None:
    """Raise UserError if the missing generations are estimated not to fit on the store's disk."""
    available = free_disk(store) - RESERVED_BYTES
    if estimate_cost(experiment, store, real=real, first_only=True).bytes <= available:
        return
    needed = estimate_cost(experiment, store, real=real).bytes  # counts what the store already has
    if needed > max(available, 0):
        raise UserError(
            f"--store {store}: this run needs about {needed / 1e6:,.0f} MB, but its disk has {(available + RESERVED_BYTES) / 1e6:,.0f} MB "
            f"free, of which {RESERVED_BYTES / 1e6:,.0f} MB stay reserved. `autophagy gc` removes what no finished run needs"
        )


def _count_finished(stages: Stages, policy: str, seed: int, models: set[str], *, limit: int) -> int:
    """Number of generations of a chain that the store has, at most `limit`. Adds the keys of their models to `models`."""
    members, count = len(stages.experiment.members), 0
    try:
        for generation in chain(stages, policy=policy, seed=seed):
            models.add(generation.model.key)
            count += 1
            if count == limit * members:
                break
    except (ArtifactNotBuilt, ArtifactMissing):
        pass
    return count // members


def _count_missing(experiment: Experiment, finished: Mapping[tuple[int, str], int]) -> int:
    """Generations to build if `finished` of each chain exist. Generation 0 counts once for each seed."""
    first = sum(not any(finished.get((seed, policy)) for policy in experiment.arms) for seed in experiment.seeds)
    chains = product(experiment.seeds, experiment.arms)
    later = sum(experiment.generations + 1 - max(1, finished.get(chain_key, 0)) for chain_key in chains)
    return (first + later) * len(experiment.members)


def _bytes_of_rows(real: RealData) -> int:
    """Bytes of the rows of all generations, if generated rows are as large as real ones."""
    experiment = real.experiment
    train = real.splits["train"].only(experiment.columns)
    generations = range(experiment.generations + 1)
    policies = [arm.policy.build() for arm in experiment.arms.values()]
    rows = sum(rows_to_generate(policy, size=experiment.size, generation=number) for policy in policies for number in generations)
    return round(rows * len(experiment.seeds) * len(experiment.members) * train.table.nbytes / len(train))
