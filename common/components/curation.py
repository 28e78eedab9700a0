"""Curations: select or edit collected rows before they become history. The ones in this module work for every modality."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field

from ..core.errors import UserError
from ..core.pool import EDITED, REAL, Pool
from .distances import nearest_distance
from .generator import CountsTokens
from .metric import MetricInputs
from .model_metrics import FalsePositiveRate, detection_threshold

KeepFraction = Annotated[float, Field(gt=0, le=1)]
ErrorRate = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class CurationResult:
    """What a curation did with its candidates."""

    rows: np.ndarray
    """Numbers of the kept candidates, ascending; int64 [k]."""
    stats: Mapping[str, float] = field(default_factory=dict)
    """Numbers that the curation reports. Must be finite."""
    edited: Pool | None = None
    """The k kept rows after editing, in the same order. None if nothing is edited."""

    def save(self, folder: Path) -> None:
        """Write the result into an artifact. File names are fixed by the format of the store."""
        np.save(folder / "rows.npy", self.rows.astype(np.int64))
        (folder / "figures.json").write_text(json.dumps({name: float(value) for name, value in self.stats.items()}, sort_keys=True))
        if self.edited is not None:
            self.edited.save(folder)

    @classmethod
    def load(cls, folder: Path) -> CurationResult:
        """Read what `save` wrote."""
        rows = np.load(folder / "rows.npy", allow_pickle=False)
        edited = Pool.load(folder) if (folder / "pool.arrow").exists() else None
        return cls(rows, json.loads((folder / "figures.json").read_text()), edited)

    def of(self, candidates: Pool) -> Pool:
        """The kept rows, edited if the curation edits, with the notes of the candidates.

        A real row that was changed no longer counts as real: its note `generation` becomes the latest generation among the
        candidates, its `depth` 1 and its `source` `edited`.
        """
        kept = candidates if len(self.rows) == len(candidates) else candidates.take(self.rows)  # ascending, so all rows are in order
        if self.edited is None:
            return kept
        unchanged = [before == after for before, after in zip(kept.row_digests(), self.edited.row_digests(), strict=True)]
        changed_real = ~np.array(unchanged) & (kept.array("_generation") == REAL)
        latest = candidates.array("_generation").max()
        return kept.with_data(self.edited).note(
            generation=np.where(changed_real, latest, kept.array("_generation")),
            depth=np.where(changed_real, 1.0, kept.array("_depth")),
            source=np.where(changed_real, EDITED, kept.array("_source").astype(str)),
        )


class Curation(Protocol):
    """Keeps some of the candidates, or edits them. A dataclass whose fields are its settings.

    The loop calls a curation like this, until it keeps `n` rows:

        candidates = n / expected_keep_rate rows, generated or real, without notes: their origin is hidden
        result = curation(candidates, MetricInputs(...), rng=rng)
        if len(result.rows) < n: candidates += more rows

    A curation that edits uses generator methods such as `Edits.edit`.
    """

    version: ClassVar[int]
    """Part of every cache key. Increase it when a change of the code changes the result."""
    reads: tuple[str, ...]
    """The attributes of `MetricInputs` that it uses: `real`, `model`, `first`, `base`, `features`."""
    abilities: tuple[str, ...] = ()
    """Methods that the generator must have, such as `score`."""
    columns: ClassVar[tuple[str, ...]] = ()
    """Data columns that it needs."""

    def expected_keep_rate(self, *, synthetic_fraction: float) -> float:
        """The fraction of candidates it is expected to keep, if a fraction `synthetic_fraction` of them is generated.

        It determines how many candidates are sampled at first.
        """
        ...

    def __call__(self, candidates: Pool, inputs: MetricInputs, *, rng: np.random.Generator) -> CurationResult: ...


# ---- selection by a score -----------------------------------------------------------------------------------------------


def scores(inputs: MetricInputs, pool: Pool, *, by: Literal["base", "features"]) -> np.ndarray:
    """How unlike real data each row is; float64 [n], lower is better. Raises UserError if a score is not finite.

    `base`: negative log-likelihood under the base model, in nats per row (per token for generators that have tokens).
    `features`: distance to the nearest real training row in feature space.
    """
    if by == "base":
        nats = inputs.base.score(pool)
        return _finite(nats / np.maximum(1, inputs.base.tokens(pool)) if isinstance(inputs.base, CountsTokens) else nats)
    real, own = (inputs.features(rows)["features"] for rows in (inputs.real, pool))
    return nearest_distance(own, real, exclude_self=pool.digest == inputs.real.bare().digest)


def _finite(values: np.ndarray) -> np.ndarray:
    """The values. Raises UserError if one is NaN or infinite, because sorting would put it first or last."""
    if not np.isfinite(values).all():
        broken = np.count_nonzero(~np.isfinite(values))
        raise UserError(f"curation: the scores of {broken} of {len(values)} rows are not finite; rows cannot be ranked by them")
    return values


@dataclass(frozen=True)
class Scored:
    """The settings shared by curations that rank rows by a score."""

    by: Literal["base", "features"] = "base"

    @property
    def reads(self) -> tuple[str, ...]:
        """The inputs that the score needs."""
        return ("base", "real") if self.by == "base" else ("features", "real")

    @property
    def abilities(self) -> tuple[str, ...]:
        """The methods of the generator that the score needs."""
        return ("score",) if self.by == "base" else ()


@dataclass(frozen=True)
class Verify(Scored):
    """Keeps the rows that an imperfect verifier accepts (Feng et al. 2024, sec. 4).

    The verifier ranks rows by a score (`by`), accepts the best `keep` fraction, then flips each decision with probability
    `error`. At `error: 0.5` its decisions are random.
    """

    keep: KeepFraction = 0.5
    error: ErrorRate = 0.0
    version: ClassVar[int] = 1

    def expected_keep_rate(self, *, synthetic_fraction: float) -> float:
        """`keep`, changed by the verifier's errors."""
        return self.keep * (1 - self.error) + (1 - self.keep) * self.error

    def __call__(self, candidates: Pool, inputs: MetricInputs, *, rng: np.random.Generator) -> CurationResult:
        values = scores(inputs, candidates, by=self.by)
        accepted = _lowest(values, self.keep)
        flipped = rng.random(len(accepted)) < self.error
        rows = np.flatnonzero(accepted ^ flipped)
        stats = {"verdicts_wrong": float(flipped.mean())}
        return CurationResult(rows, stats | {"mean_score": float(values[rows].mean())} if len(rows) else stats)


@dataclass(frozen=True)
class Prune(Scored):
    """Keeps a fraction `keep` of the rows, selected by score.

    `quality` keeps the best scores, as selection by perplexity does (Marion et al. 2023). `typicality` keeps the scores
    nearest to the median of real rows, neither too unlikely nor too likely (after Meister et al. 2023). `match` keeps, for
    every quantile of real scores, the candidate nearest to it, so that kept scores are distributed like real ones.
    """

    strategy: Literal["quality", "typicality", "match"] = "typicality"
    keep: KeepFraction = 0.5
    version: ClassVar[int] = 1

    def expected_keep_rate(self, *, synthetic_fraction: float) -> float:
        """`keep`."""
        return self.keep

    def __call__(self, candidates: Pool, inputs: MetricInputs, *, rng: np.random.Generator) -> CurationResult:
        values = scores(inputs, candidates, by=self.by)
        if self.strategy == "quality":
            rows = np.flatnonzero(_lowest(values, self.keep))
        else:
            real = scores(inputs, inputs.real.bare(), by=self.by)
            if self.strategy == "typicality":
                rows = np.flatnonzero(_lowest(np.abs(values - np.median(real)), self.keep))
            else:
                rows = _match_quantiles(values, real, max(1, round(self.keep * len(values))))
        return CurationResult(rows, {"mean_score": float(values[rows].mean())})


def _lowest(values: np.ndarray, fraction: float) -> np.ndarray:
    """Marks the lowest `fraction` of values, at least one; bool [n]. Of equal values the first are marked."""
    chosen = np.zeros(len(values), dtype=bool)
    chosen[np.argsort(values, kind="stable")[: max(1, round(fraction * len(values)))]] = True
    return chosen


def _match_quantiles(values: np.ndarray, real: np.ndarray, n: int) -> np.ndarray:
    """Indices of n different values with the least total distance to n evenly spaced quantiles of `real`; ascending int64 [n].

    Exact, by the Hungarian algorithm. Needs an n x len(values) matrix in memory.
    """
    from scipy.optimize import linear_sum_assignment

    quantiles = np.quantile(real, (np.arange(n) + 0.5) / n)
    _, chosen = linear_sum_assignment(np.abs(quantiles[:, None] - values[None, :]))
    return np.sort(chosen)


# ---- duplicates and watermarked rows --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dedup:
    """Drops rows equal to an earlier candidate or, with `against_real`, to a real row: exact deduplication (Lee et al. 2022)."""

    against_real: bool = False
    version: ClassVar[int] = 1
    abilities: ClassVar[tuple[str, ...]] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        """The real pool, if rows are compared with it."""
        return ("real",) if self.against_real else ()

    def expected_keep_rate(self, *, synthetic_fraction: float) -> float:
        """1: duplicates are assumed to be rare."""
        return 1.0

    def __call__(self, candidates: Pool, inputs: MetricInputs, *, rng: np.random.Generator) -> CurationResult:
        known = set(inputs.real.row_digests()) if self.against_real else set()
        rows = []
        for row, digest in enumerate(candidates.row_digests()):
            if digest not in known:
                known.add(digest)
                rows.append(row)
        return CurationResult(np.array(rows, dtype=np.int64))


@dataclass(frozen=True)
class Detect:
    """Drops rows that the generator's watermark detector flags (after Drayson et al. 2025, who detect without a watermark).

    A row is flagged if its z-score is above `threshold`. By default the threshold is set such that a fraction
    `false_positives` of the real pool would be flagged. The results `kept_share/made` and `kept_share/real` give the
    fractions of generated rows that it misses and of real rows that it keeps.
    """

    false_positives: FalsePositiveRate = 0.01
    threshold: float | None = None
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("model", "real")
    abilities: ClassVar[tuple[str, ...]] = ("detect",)

    def expected_keep_rate(self, *, synthetic_fraction: float) -> float:
        """The fraction of real rows: a perfect detector drops all others."""
        return 1 - synthetic_fraction

    def __call__(self, candidates: Pool, inputs: MetricInputs, *, rng: np.random.Generator) -> CurationResult:
        threshold = self.threshold
        if threshold is None:
            threshold = detection_threshold(_finite(inputs.model.detect(inputs.real.bare())), self.false_positives)
        z = _finite(inputs.model.detect(candidates))
        return CurationResult(np.flatnonzero(z <= threshold), {"threshold": threshold, "flagged": float((z > threshold).mean())})
