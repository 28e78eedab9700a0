"""The contract of a curation, which selects or edits collected rows, and the curations that work for every modality."""

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
    """The rows that a curation keeps, after editing if it edits rows, and its statistics."""

    rows: np.ndarray
    """Row numbers of the k kept candidates, in ascending order; int64 [k]."""
    stats: Mapping[str, float] = field(default_factory=dict)
    """Statistics that the curation reports, by name. All values must be finite."""
    edited: Pool | None = None
    """The k kept rows after editing, in the same order. None if the curation does not edit rows."""

    def save(self, folder: Path) -> None:
        """Write the result into an artifact. The format of the store defines the file names."""
        np.save(folder / "rows.npy", self.rows.astype(np.int64))
        (folder / "figures.json").write_text(json.dumps({name: float(value) for name, value in self.stats.items()}, sort_keys=True))
        if self.edited is not None:
            self.edited.save(folder)

    @classmethod
    def load(cls, folder: Path) -> CurationResult:
        """Load a result that `save` wrote."""
        rows = np.load(folder / "rows.npy", allow_pickle=False)
        edited = Pool.load(folder) if (folder / "pool.arrow").exists() else None
        return cls(rows, json.loads((folder / "figures.json").read_text()), edited)

    def of(self, candidates: Pool) -> Pool:
        """Return the kept rows (after editing, if the curation edits) with the notes (metadata columns) of the candidates.

        An edited real row no longer counts as real. Its note `generation` becomes the latest generation among the candidates,
        `depth` becomes 1 and `source` becomes `edited`.
        """
        kept = candidates if len(self.rows) == len(candidates) else candidates.take(self.rows)  # rows are ascending
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
    """A component that selects or edits candidates. Implementations are dataclasses whose fields are their settings.

    The loop calls a curation until it keeps `n` rows:

        candidates = n / expected_keep_rate rows, generated or real, without notes, so that their origin is hidden
        result = curation(candidates, MetricInputs(...), rng=rng)
        if len(result.rows) < n: candidates += more rows

    A curation that edits rows calls generator methods such as `Edits.edit`.
    """

    version: ClassVar[int]
    """Version of the code, part of the cache key. Increase it if a change of the code changes results."""
    reads: tuple[str, ...]
    """Attributes of `MetricInputs` that the curation uses: `real`, `model`, `first`, `base` or `features`."""
    abilities: tuple[str, ...] = ()
    """Methods that the generator must have, such as `score`."""
    columns: ClassVar[tuple[str, ...]] = ()
    """Data columns that the curation needs."""

    def expected_keep_rate(self, *, synthetic_fraction: float) -> float:
        """Return the expected fraction of kept candidates, if the fraction `synthetic_fraction` of them is generated.

        The loop computes the number of candidates in its first call from this value.
        """
        ...

    def __call__(self, candidates: Pool, inputs: MetricInputs, *, rng: np.random.Generator) -> CurationResult:
        """Select or edit candidates."""
        ...


# ---- selection by a score -----------------------------------------------------------------------------------------------


def scores(inputs: MetricInputs, pool: Pool, *, by: Literal["base", "features"]) -> np.ndarray:
    """Score the rows of a pool by their dissimilarity to real data. Returns float64 [n]; lower is better.

    `by="base"`: negative log-likelihood under the base model, in nats per token if the generator has tokens, else in nats per
    row. `by="features"`: distance to the nearest real training row in feature space. Raises UserError if a score is not finite.
    """
    if by == "base":
        nats = inputs.base.score(pool)
        return _finite(nats / np.maximum(1, inputs.base.tokens(pool)) if isinstance(inputs.base, CountsTokens) else nats)
    real, own = (inputs.features(rows)["features"] for rows in (inputs.real, pool))
    return nearest_distance(own, real, exclude_self=pool.digest == inputs.real.bare().digest)


def _finite(values: np.ndarray) -> np.ndarray:
    """Return the values. Raises UserError if a value is NaN or infinite, because such values cannot be ranked."""
    if not np.isfinite(values).all():
        broken = np.count_nonzero(~np.isfinite(values))
        raise UserError(f"curation: the scores of {broken} of {len(values)} rows are NaN or infinite, so rows cannot be ranked")
    return values


@dataclass(frozen=True)
class Scored:
    """Common setting of all curations that rank rows by a score."""

    by: Literal["base", "features"] = "base"
    """Score of a row: its likelihood under the base model, or its distance to real rows in feature space (see `scores`)."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Inputs that the score needs."""
        return ("base", "real") if self.by == "base" else ("features", "real")

    @property
    def abilities(self) -> tuple[str, ...]:
        """Methods of the generator that the score needs."""
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
        """Return the fraction of accepted rows after the verifier's errors."""
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

    `quality` keeps the rows with the best scores, as in selection by perplexity (Marion et al. 2023). `typicality` keeps the
    rows with scores nearest to the median score of real rows, neither too low nor too high (after Meister et al. 2023). `match`
    keeps the row with the nearest score for each quantile of the real scores. So the kept rows have the same distribution of
    scores as real rows.
    """

    strategy: Literal["quality", "typicality", "match"] = "typicality"
    keep: KeepFraction = 0.5
    version: ClassVar[int] = 1

    def expected_keep_rate(self, *, synthetic_fraction: float) -> float:
        """Return `keep`."""
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
    """Mark the lowest `fraction` of the values, at least one value. Returns bool [n]. Among equal values, earlier ones are marked."""
    chosen = np.zeros(len(values), dtype=bool)
    chosen[np.argsort(values, kind="stable")[: max(1, round(fraction * len(values)))]] = True
    return chosen


def _match_quantiles(values: np.ndarray, real: np.ndarray, n: int) -> np.ndarray:
    """Match n different values to n evenly spaced quantiles of `real`. Returns their indices, ascending int64 [n].

    The match has the smallest possible total distance (Hungarian algorithm). Needs n * len(values) float64 of memory.
    """
    from scipy.optimize import linear_sum_assignment

    quantiles = np.quantile(real, (np.arange(n) + 0.5) / n)
    _, chosen = linear_sum_assignment(np.abs(quantiles[:, None] - values[None, :]))
    return np.sort(chosen)


# ---- duplicates and watermarked rows --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dedup:
    """Exact deduplication: drops rows that equal an earlier candidate or, with `against_real`, a real row (Lee et al. 2022)."""

    against_real: bool = False
    version: ClassVar[int] = 1
    abilities: ClassVar[tuple[str, ...]] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        """`real`, if candidates are compared with real rows."""
        return ("real",) if self.against_real else ()

    def expected_keep_rate(self, *, synthetic_fraction: float) -> float:
        """Return 1, because duplicates are assumed to be rare."""
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
    """Drops rows that the generator's watermark detector flags (after Drayson et al. 2025, who use a detector without watermark).

    A row is flagged if its z-score is above `threshold`. By default, the threshold is chosen so that the detector flags the
    fraction `false_positives` of the real pool. In the results, `kept_share/made` is the fraction of generated rows that are
    not flagged, and `kept_share/real` is the fraction of real rows that are kept.
    """

    false_positives: FalsePositiveRate = 0.01
    threshold: float | None = None
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("model", "real")
    abilities: ClassVar[tuple[str, ...]] = ("detect",)

    def expected_keep_rate(self, *, synthetic_fraction: float) -> float:
        """Return the fraction of real rows, because a perfect detector drops all generated rows."""
        return 1 - synthetic_fraction

    def __call__(self, candidates: Pool, inputs: MetricInputs, *, rng: np.random.Generator) -> CurationResult:
        threshold = self.threshold
        if threshold is None:
            threshold = detection_threshold(_finite(inputs.model.detect(inputs.real.bare())), self.false_positives)
        z = _finite(inputs.model.detect(candidates))
        return CurationResult(np.flatnonzero(z <= threshold), {"threshold": threshold, "flagged": float((z > threshold).mean())})
