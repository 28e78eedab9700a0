"""Estimates the cost of a run before it starts: generations to build, time, disk space and memory.

The cost of a generation cannot be predicted for an unknown model or machine. So the estimate extrapolates from the generations that
the store already has.
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
"""Disk space in bytes that a run must leave free. A run that would leave less is refused."""


@dataclass(frozen=True)
class CostEstimate:
    """Estimated cost of one experiment. Each member of each chain counts its own generations."""

    missing: int
    """Number of generations to build. A generation that several chains share counts once."""
    finished: int
    """Number of generations that are complete in the store."""
    rows: Mapping[str, int]
    """Number of rows of each data split."""
    bytes: int
    """Disk space in bytes that the missing generations need. If `seconds` is None, the size of their rows only."""
    seconds: float | None
    """Time in seconds to build the missing generations on one processor. None if the store has no generation to extrapolate from."""
    peak_bytes: int | None
    """Peak memory of a worker in bytes. None if the store has no measurement."""


def estimate_cost(experiment: Experiment, store: Path, *, real: RealData | None = None, first_only: bool = False) -> CostEstimate:
    """Estimate the cost of an experiment from its generations in the store. Builds nothing. Loads the data unless `real` is given.

    `first_only`: look up only generation 0 of the first seed, and count all others as missing. Faster, and never too low.
    """
    real = real or _real_data(experiment, store)
    rows = {name: len(pool) for name, pool in real.splits.items()}  # first, so that errors in the data appear at once
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


def _real_data(experiment: Experiment, store: Path) -> RealData:
    """Return the real data of an experiment, from the store if it has the splits, else from the data set."""
    if os.path.lexists(store):
        real = Stages(experiment, ReadOnlyStore(store)).real
        try:
            _ = real.splits
        except (ArtifactNotBuilt, ArtifactMissing):
            pass
        else:
            return real
    return RealData(experiment)


def check_disk_space(experiment: Experiment, store: Path, *, real: RealData) -> None:
    """Raise UserError if the estimated size of the missing generations exceeds the free space on the disk of the store."""
    available = free_disk(store) - RESERVED_BYTES
    if estimate_cost(experiment, store, real=real, first_only=True).bytes <= available:
        return
    needed = estimate_cost(experiment, store, real=real).bytes  # omits all generations in the store
    if needed > max(available, 0):
        raise UserError(
            f"--store {store}: this run needs about {needed / 1e6:,.0f} MB, but its disk has {(available + RESERVED_BYTES) / 1e6:,.0f} MB "
            f"free, of which {RESERVED_BYTES / 1e6:,.0f} MB stay reserved. `autophagy gc` removes artifacts that no finished run needs"
        )


def _count_finished(stages: Stages, policy: str, seed: int, models: set[str], *, limit: int) -> int:
    """Count the generations of a chain in the store, at most `limit`. Adds the keys of their models to `models`."""
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
    """Count the generations to build. `finished`: existing generations of each chain. Generation 0 counts once for each seed."""
    first = sum(not any(finished.get((seed, policy)) for policy in experiment.arms) for seed in experiment.seeds)
    chains = product(experiment.seeds, experiment.arms)
    later = sum(experiment.generations + 1 - max(1, finished.get(chain_key, 0)) for chain_key in chains)
    return (first + later) * len(experiment.members)


def _bytes_of_rows(real: RealData) -> int:
    """Estimate the size in bytes of all generated rows. Assumes that they are as large as real rows."""
    experiment = real.experiment
    train = real.splits["train"].only(experiment.columns)
    generations = range(experiment.generations + 1)
    policies = [arm.policy.build() for arm in experiment.arms.values()]
    rows = sum(rows_to_generate(policy, size=experiment.size, generation=number) for policy in policies for number in generations)
    return round(rows * len(experiment.seeds) * len(experiment.members) * train.table.nbytes / len(train))
