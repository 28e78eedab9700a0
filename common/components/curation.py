"""Curations: what is kept of what was collected, before it becomes history. Those here are the same for every modality."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field
from scipy.optimize import linear_sum_assignment

from ..core.errors import UserError
from ..core.pool import EDITED, REAL, Pool
from .distances import nearest_distance
from .metric import MetricInputs
from .model_metrics import detection_threshold

Share = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True)
class CurationResult:
    """What a curation keeps: `rows` int64 [k], numbers of candidates in ascending order; if it writes on them, `edited`: the k rows
    as they are now; `figures`: what it has to say about it."""

    rows: np.ndarray
    stats: Mapping[str, float] = field(default_factory=dict)
    edited: Pool | None = None

    def save(self, folder: Path) -> None:
        np.save(folder / "rows.npy", self.rows.astype(np.int64))
        (folder / "figures.json").write_text(json.dumps({name: float(value) for name, value in self.stats.items()}, sort_keys=True))
        if self.edited is not None:
            self.edited.save(folder)

    @classmethod
    def load(cls, folder: Path) -> CurationResult:
        rows = np.load(folder / "rows.npy", allow_pickle=False)
        edited = Pool.load(folder) if (folder / "pool.arrow").exists() else None
        return cls(rows, json.loads((folder / "figures.json").read_text()), edited)

    def of(self, candidates: Pool) -> Pool:
        """The kept rows with the notes of the candidates they were. A real row that was rewritten is no longer one: it counts as
        born in the latest generation there is, at depth 1, its source `edited`."""
        rows = candidates if len(self.rows) == len(candidates) else candidates.take(self.rows)  # rows are ascending: all are all
        if self.edited is None:
            return rows
        same = [old == new for old, new in zip(rows.row_digests(), self.edited.row_digests(), strict=True)]
        written = ~np.array(same) & (rows.array("_generation") == REAL)
        latest = candidates.array("_generation").max()
        return rows.with_data(self.edited).note(
            generation=np.where(written, latest, rows.array("_generation")),
            depth=np.where(written, 1.0, rows.array("_depth")),
            source=np.where(written, EDITED, rows.array("_source").astype(str)),
        )


class Curation(Protocol):
    """Keeps some of the candidates, or writes on them. A dataclass whose fields are its settings.

    It sees the samples alone, never who made them. The loop samples more until it keeps enough rows, and says how many it took.
    """

    version: ClassVar[int]
    reads: tuple[str, ...]
    """What it looks at beside the candidates, as for a metric: `real` (the real training pool), `model`, `base`, `features`."""
    abilities: tuple[str, ...] = ()
    """Methods a generator must have for it, such as `score`."""
    columns: ClassVar[tuple[str, ...]] = ()

    def expected_keep_rate(self, *, synthetic_fraction: float) -> float:
        """The share of candidates it is expected to keep, of which so many are made: how many are sampled to begin with."""
        ...

    def __call__(self, candidates: Pool, inputs: MetricInputs, *, rng: np.random.Generator) -> CurationResult: ...


# ---- scores -----------------------------------------------------------------------------------------------------------


def scores(inputs: MetricInputs, pool: Pool, *, by: Literal["base", "features"]) -> np.ndarray:
    """How unlike real data each row is, float64 [n], lower is better.

    `base`: negative log-likelihood under the base model, nats a row (a token for generators that have tokens).
    `features`: distance to the nearest real training row in feature space.
    """
    if by == "base":
        nats = inputs.base.score(pool)
        return _finite(nats / np.maximum(1, inputs.base.tokens(pool)) if hasattr(inputs.base, "tokens") else nats)
    real, own = (inputs.features(rows)["features"] for rows in (inputs.real, pool))
    return nearest_distance(own, real, exclude_self=pool.digest == inputs.real.bare().digest)


def _finite(scores: np.ndarray) -> np.ndarray:
    """The scores; UserError if one is no number: sorted among the others it would be the worst, or the best."""
    if not np.isfinite(scores).all():
        raise UserError(f"curation: the scores of {np.count_nonzero(~np.isfinite(scores))} of {len(scores)} rows are not finite")
    return scores


@dataclass(frozen=True)
class Scored:
    """Settings of what judges rows by a score."""

    by: Literal["base", "features"] = "base"

    @property
    def reads(self) -> tuple[str, ...]:
        return ("base", "real") if self.by == "base" else ("features", "real")

    @property
    def abilities(self) -> tuple[str, ...]:
        return ("score",) if self.by == "base" else ()


@dataclass(frozen=True)
class Verify(Scored):
    """Keeps the `keep` share that a verifier likes best, erring on a share `error` of rows (Feng et al. 2024, sec. 4).

    The verifier scores every row (`by`); its verdict, good for the best `keep` share, is turned round with probability `error`,
    whatever the row: at 0.5 it says nothing.
    """

    keep: Share = 0.5
    error: Annotated[float, Field(ge=0, le=1)] = 0.0
    version: ClassVar[int] = 1

    def expected_keep_rate(self, *, synthetic_fraction: float) -> float:
        return self.keep * (1 - self.error) + (1 - self.keep) * self.error

    def __call__(self, candidates: Pool, inputs: MetricInputs, *, rng: np.random.Generator) -> CurationResult:
        found = scores(inputs, candidates, by=self.by)
        good = _lowest(found, self.keep)
        wrong = rng.random(len(good)) < self.error
        kept = np.flatnonzero(good ^ wrong)
        figures = {"verdicts_wrong": wrong.mean()}
        return CurationResult(kept, figures | {"mean_score": found[kept].mean()} if len(kept) else figures)


@dataclass(frozen=True)
class Prune(Scored):
    """Trims what was sampled by its score, keeping a share `keep`.

    `quality` keeps the best scores, as a selection by perplexity does (Marion et al. 2023); `typicality` the scores nearest to the
    median of real rows, so neither the unlikely nor the all too likely (after Meister et al. 2023); `match` picks, for every
    quantile of real scores, the candidate nearest to it: the scores that are kept are distributed as real ones are.
    """

    strategy: Literal["quality", "typicality", "match"] = "typicality"
    keep: Share = 0.5
    version: ClassVar[int] = 1

    def expected_keep_rate(self, *, synthetic_fraction: float) -> float:
        return self.keep

    def __call__(self, candidates: Pool, inputs: MetricInputs, *, rng: np.random.Generator) -> CurationResult:
        found = scores(inputs, candidates, by=self.by)
        if self.strategy == "quality":
            rows = np.flatnonzero(_lowest(found, self.keep))
        else:
            real = scores(inputs, inputs.real.bare(), by=self.by)
            if self.strategy == "typicality":
                rows = np.flatnonzero(_lowest(np.abs(found - np.median(real)), self.keep))
            else:
                rows = _matching(found, real, max(1, round(self.keep * len(found))))
        return CurationResult(rows, {"mean_score": found[rows].mean()})


def _lowest(values: np.ndarray, share: float) -> np.ndarray:
    """Which values are among the lowest `share`, bool [n]; of equal ones the first."""
    chosen = np.zeros(len(values), dtype=bool)
    chosen[np.argsort(values, kind="stable")[: max(1, round(share * len(values)))]] = True
    return chosen


def _matching(values: np.ndarray, real: np.ndarray, n: int) -> np.ndarray:
    """Numbers of n values, none twice, with the least sum of distances to n evenly spaced quantiles of `real`; ascending int64 [n].

    Exact, by the Hungarian algorithm; n x len(values) numbers are held in memory.
    """
    wanted = np.quantile(real, (np.arange(n) + 0.5) / n)
    _, chosen = linear_sum_assignment(np.abs(wanted[:, None] - values[None, :]))
    return np.sort(chosen)


# ---- equal rows, watermarked rows ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dedup:
    """Drops rows that equal an earlier candidate or, with `against_real`, a row of the real pool: exact deduplication (Lee et al. 2022)."""

    against_real: bool = False
    version: ClassVar[int] = 1
    abilities: ClassVar[tuple[str, ...]] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        return ("real",) if self.against_real else ()

    def expected_keep_rate(self, *, synthetic_fraction: float) -> float:
        return 1.0

    def __call__(self, candidates: Pool, inputs: MetricInputs, *, rng: np.random.Generator) -> CurationResult:
        seen = set(inputs.real.row_digests()) if self.against_real else set()
        rows = []
        for row, digest in enumerate(candidates.row_digests()):
            if digest not in seen:
                seen.add(digest)
                rows.append(row)
        return CurationResult(np.array(rows, dtype=np.int64))


@dataclass(frozen=True)
class Detect:
    """Drops what the watermark detector of the generator flags (after Drayson et al. 2025, who detect without a watermark).

    A row is flagged above `threshold` standard deviations of rows without the watermark; left out, the threshold is where a share
    `false_positives` of the real pool would be flagged. How many made rows it misses and how many real ones it loses stand
    in the rows as `kept_share/made` and `kept_share/real`.
    """

    false_positives: Annotated[float, Field(gt=0, lt=1)] = 0.01
    threshold: float | None = None
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("model", "real")
    abilities: ClassVar[tuple[str, ...]] = ("detect",)

    def expected_keep_rate(self, *, synthetic_fraction: float) -> float:
        return 1 - synthetic_fraction  # a detector that misses nothing keeps the real rows

    def __call__(self, candidates: Pool, inputs: MetricInputs, *, rng: np.random.Generator) -> CurationResult:
        threshold = self.threshold
        if threshold is None:
            threshold = detection_threshold(_finite(inputs.model.detect(inputs.real.bare())), self.false_positives)
        z = _finite(inputs.model.detect(candidates))
        return CurationResult(np.flatnonzero(z <= threshold), {"threshold": threshold, "flagged": (z > threshold).mean()})
