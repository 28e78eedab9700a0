"""Collecting: how samples become the pool of a generation.

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


def spare_rows(arm: Arm, *, size: int, generations: int) -> int:
    """Unseen real rows that an arm is expected to collect beside made ones, for so many generations to come."""
    if arm.synthetic_fraction == 1:
        return 0
    share = 1.0 if arm.curation is None else arm.curation.build().expected_keep_rate(synthetic_fraction=arm.synthetic_fraction)
    policy = arm.policy.build()
    candidates = [math.ceil(rows_to_generate(policy, size=size, generation=number) / share) for number in range(generations)]
    return sum(count - round(arm.synthetic_fraction * count) for count in candidates)


class RealReserve:
    """Unseen real rows to be collected beside made ones, each once."""

    def __init__(self, pool: Pool):
        self.pool, self.used = pool, 0

    def take(self, n: int) -> Pool:
        if self.used + n > len(self.pool):
            raise UserError(
                f"synthetic_fraction: the {len(self.pool)} real rows that no generation has seen are used up; "
                "a smaller size, fewer generations or more data is needed"
            )
        self.used += n
        return self.pool.slice(self.used - n, self.used)


@dataclass(frozen=True)
class CollectedPool:
    """The pool of a generation, and the candidates that were looked at for it."""

    pool: Pool
    candidates: Pool
    kept: CurationResult


def collect(
    arm: Arm,
    *,
    n: int,
    sample: Callable[[int, int, int], Pool],
    spare: RealReserve,
    curate: Callable[[Pool], CurationResult],
    most: int,
    rng: np.random.Generator,
) -> CollectedPool:
    """n rows that a curation keeps, of candidates of which a share is made by a model and the others are real.

    `sample(batch, before, k)` gives the k made rows of a batch, `before` made rows having gone before it. UserError if `most`
    candidates a row are not enough.
    """
    share = 1.0 if arm.curation is None else arm.curation.build().expected_keep_rate(synthetic_fraction=arm.synthetic_fraction)
    batches: list[Pool] = []
    have, generated, wanted = 0, 0, min(math.ceil(n / share), most * n)
    while True:
        while have < wanted:
            more = min(n, wanted - have)
            n_generated = round(arm.synthetic_fraction * (have + more)) - generated  # of all so far: no batch is too small for its share
            parts = [sample(len(batches), generated, n_generated)] if n_generated else []
            parts += [spare.take(more - n_generated)] if n_generated < more else []
            batches.append(parts[0] if len(parts) == 1 else Pool.concat(parts).take(rng.permutation(more)))
            have, generated = have + more, generated + n_generated
        candidates = Pool.concat(batches)
        kept = CurationResult(np.arange(have)) if arm.curation is None else curate(candidates)
        if len(kept.rows) >= n:
            return CollectedPool(kept.of(candidates).slice(0, n), candidates, kept)
        if have >= most * n:
            raise UserError(
                f"curation '{arm.curation.use}' keeps {len(kept.rows)} of {have} candidates and {n} rows are needed; "
                f"max_candidates_per_row: {most} a row is the most this experiment allows"
            )
        wanted = min(have + math.ceil((n - len(kept.rows)) * have / max(1, len(kept.rows))), most * n)
