"""Collects the pool of a generation. Mixes generated rows with unseen real rows and curates the mixture.

model ──► sample ──┐
                   ├──► candidates ──► curate ──► pool of the generation
unseen real rows ──┘        ▲            │
                            └─ too few? ─┘
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..components.curation import CurationResult
from ..components.policy import rows_to_generate
from ..config.arms import Arm
from ..core.errors import UserError
from ..core.pool import Pool


def real_rows_to_collect(arm: Arm, *, size: int, generations: int) -> int:
    """Compute the expected number of unseen real rows that an arm collects in `generations` generations."""
    if arm.synthetic_fraction == 1:
        return 0
    policy, rate = arm.policy.build(), _keep_rate(arm)
    candidates = [math.ceil(rows_to_generate(policy, size=size, generation=number) / rate) for number in range(generations)]
    return sum(count - round(arm.synthetic_fraction * count) for count in candidates)


class RealReserve:
    """A queue of unseen real rows. Each row is taken at most once."""

    def __init__(self, pool: Pool):
        self.pool, self.used = pool, 0

    def take(self, n: int) -> Pool:
        """Return the next n rows. Raises UserError if fewer rows are left."""
        if self.used + n > len(self.pool):
            raise UserError(
                f"synthetic_fraction: all {len(self.pool)} unseen real rows are used up; reduce size or generations, or use more data"
            )
        self.used += n
        return self.pool.slice(self.used - n, self.used)


@dataclass(frozen=True)
class CollectedPool:
    """The collected pool of a generation, all candidates, and the curation result that selected the pool."""

    pool: Pool
    candidates: Pool
    curation: CurationResult


def collect(
    arm: Arm,
    *,
    n: int,
    sample: Callable[[int, int, int], Pool],
    curate: Callable[[Pool], CurationResult],
    real: RealReserve,
    max_candidates_per_row: int,
    rng: np.random.Generator,
) -> CollectedPool:
    """Collect n rows that the curation of the arm keeps. `synthetic_fraction` of the candidates are generated, the others are real.

    `sample(batch, skip, k)` returns k generated rows as batch number `batch`, after `skip` rows in earlier batches.
    Raises UserError if `max_candidates_per_row` x n candidates are not enough.
    """
    limit = max_candidates_per_row * n
    batches: list[Pool] = []
    count, generated, target = 0, 0, min(math.ceil(n / _keep_rate(arm)), limit)
    while True:
        while count < target:
            more = min(n, target - count)
            n_generated = round(arm.synthetic_fraction * (count + more)) - generated  # rounding the total avoids drift
            parts = [sample(len(batches), generated, n_generated)] if n_generated else []
            parts += [real.take(more - n_generated)] if n_generated < more else []
            batches.append(parts[0] if len(parts) == 1 else Pool.concat(parts).take(rng.permutation(more)))
            count, generated = count + more, generated + n_generated
        candidates = Pool.concat(batches)
        curation = CurationResult(np.arange(count)) if arm.curation is None else curate(candidates)
        kept = len(curation.rows)
        if kept >= n:
            return CollectedPool(curation.of(candidates).slice(0, n), candidates, curation)
        if count >= limit:
            name = "none" if arm.curation is None else arm.curation.use
            raise UserError(
                f"curation '{name}' keeps {kept} of {count} candidates, but {n} rows are needed; "
                f"raise max_candidates_per_row (now {max_candidates_per_row}) or choose a curation that keeps more"
            )
        target = min(count + math.ceil((n - kept) * count / max(1, kept)), limit)


def _keep_rate(arm: Arm) -> float:
    """Return the expected share of candidates that the arm keeps."""
    return 1.0 if arm.curation is None else arm.curation.build().expected_keep_rate(synthetic_fraction=arm.synthetic_fraction)
