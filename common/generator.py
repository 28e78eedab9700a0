"""The contract of a generator: something that learns from a pool and makes a pool."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from .pool import Pool


@dataclass(frozen=True)
class Fitted:
    """What a fit did, in the unit its optimizer consumes.

    `consumed` [n] float64 counts, for every row of the training pool, the units (tokens, images, samples) of it that
    went through the optimizer; `figures` are the fit's own numbers, such as its last loss.
    """

    unit: str
    consumed: np.ndarray
    steps: int
    figures: Mapping[str, float] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        np.save(folder / "consumed.npy", self.consumed.astype(np.float64))
        about = {"unit": self.unit, "steps": self.steps, "figures": dict(self.figures)}
        (folder / "fitted.json").write_text(json.dumps(about, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> Fitted:
        return cls(consumed=np.load(folder / "consumed.npy", allow_pickle=False), **json.loads((folder / "fitted.json").read_text()))


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

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> Fitted: ...

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool: ...

    def save(self, folder: Path) -> None: ...

    def load(self, folder: Path) -> None: ...


class Scores(Protocol):
    """An optional ability: a GAN has none, a VAE has a bound."""

    def score(self, pool: Pool) -> np.ndarray:
        """Negative log-likelihood of every row, nats, float64 [n]; lower is likelier."""
        ...
