"""The contract of a generator: something that learns from a pool and makes a pool."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from ..core.pool import Pool


@dataclass(frozen=True)
class FitResult:
    """What a fit did, row by row.

    `seen` [n] int64 counts how often each row of the training pool went through the optimizer, `each` [n] float64 the units
    (tokens, images, samples) that this took each time; `figures` are the fit's own numbers, such as its last loss.
    """

    unit: str
    visit_counts: np.ndarray
    units_per_row: np.ndarray
    steps: int
    stats: Mapping[str, float] = field(default_factory=dict)

    @property
    def consumed(self) -> np.ndarray:
        """Units of every row that went through the optimizer, float64 [n]."""
        return self.visit_counts * self.units_per_row

    def save(self, folder: Path) -> None:
        np.save(folder / "seen.npy", self.visit_counts.astype(np.int64))
        np.save(folder / "each.npy", self.units_per_row.astype(np.float64))
        about = {"unit": self.unit, "steps": self.steps, "figures": dict(self.stats)}
        (folder / "fitted.json").write_text(json.dumps(about, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> FitResult:
        visit_counts, units_per_row = (np.load(folder / name, allow_pickle=False) for name in ("seen.npy", "each.npy"))
        about = json.loads((folder / "fitted.json").read_text())
        return cls(about["unit"], visit_counts, units_per_row, about["steps"], about["figures"])

    @classmethod
    def closed_form(
        cls, unit: str, rows: int, *, units_per_row: np.ndarray | float = 1.0, stats: Mapping[str, float] | None = None
    ) -> FitResult:
        """A fit in closed form: one step that sees every row once."""
        return cls(unit, np.ones(rows, dtype=np.int64), np.broadcast_to(np.float64(units_per_row), (rows,)), 1, stats or {})


class Generator(Protocol):
    """Learns from a pool and makes a pool. A dataclass whose fields are its whole recipe.

    The loop calls it like this, with a new instance for every line (here `init: base`):

        generator.load(base); fitted = generator.fit(train, seed=1, scratch=folder); generator.save(model)
        generator.load(model); made = generator.sample(1000, seed=2)

    Promises, which `autophagy.common.contract.check` tests on any generator:

    - `fit` starts from what `load` brought in, or from the generator's own beginning if nothing was loaded. With
      `fresh=True` it draws new weights and keeps only what is not learned by gradient (a tokenizer).
    - The same seed gives the same pool, and `sample(n)` begins with the rows of `sample(m)` for m < n.
    - Global random state is neither read nor changed. `fit` leaves its pool as it was.
    - Made pools have the `columns`, types and row shape of the training pool.
    - After `load(save())` it samples and scores as before. `save` writes no pickle and no time stamp.
    - A field named `sampling` says how samples are drawn and never changes what is fitted.
    """

    version: ClassVar[int]
    """Raise it when the numbers it makes would change: it is part of every key."""
    modality: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    """The data columns it learns and makes; the others (labels, say) it never sees."""
    continues: ClassVar[bool] = False
    """Whether `sample` makes use of `given` rows; if not, a config that asks for prompts is refused."""
    conditional: ClassVar[bool] = False
    """Whether it learns and makes the column `label` too where a pool has one; if not, `labels: conditional` is refused."""
    classes: int = 0
    """For conditional ones: how many classes the data has, set before `fit`; a pool need not hold a row of each."""

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult: ...

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool: ...

    def save(self, folder: Path) -> None: ...

    def load(self, folder: Path) -> None: ...


class Scores(Protocol):
    """An optional ability: a GAN has none, a VAE has a bound."""

    def score(self, pool: Pool) -> np.ndarray:
        """Negative log-likelihood of every row, nats, float64 [n]; lower is likelier."""
        ...


class Edits(Protocol):
    """An optional ability of models of text: to write again what they find all too likely."""

    def edit(self, pool: Pool, *, above: float, seed: int) -> tuple[Pool, float]:
        """The rows with every token likelier than `above` drawn anew (Zhu et al. 2024, eq. 4), and the share of tokens drawn."""
        ...


class Detects(Protocol):
    """An optional ability: to find the watermark that its own `sampling.watermark` put into what it made."""

    def detect(self, pool: Pool) -> np.ndarray:
        """How much each row looks watermarked, in standard deviations of rows that are not; float64 [n]."""
        ...
