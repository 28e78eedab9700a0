"""The contract of a generator, a model that learns from a pool and generates a pool.

The functions at the end of this module read optional members and return a default for generators without them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from ..core.pool import Pool


@dataclass(frozen=True)
class FitResult:
    """Data of a fit for the audit: the use of each of the n rows of the training pool, and statistics.

    The audit compares the use of the rows with the mixture that the policy declares.
    """

    unit: str
    """Unit of training data: `tokens`, `images` or `samples`."""
    visit_counts: np.ndarray
    """Number of visits (uses in training) of each row; int64 [n]."""
    units_per_row: np.ndarray
    """Number of units that one visit of each row consumes; float64 [n]."""
    steps: int
    """Number of optimizer steps."""
    stats: Mapping[str, float] = field(default_factory=dict)
    """Statistics of the fit by name, such as the last loss. All values must be finite."""

    @property
    def consumed(self) -> np.ndarray:
        """Number of units consumed from each row; float64 [n]."""
        return np.asarray(self.visit_counts * self.units_per_row)

    def save(self, folder: Path) -> None:
        """Write the result into an artifact. The format of the store defines the file names and keys."""
        np.save(folder / "seen.npy", self.visit_counts.astype(np.int64))
        np.save(folder / "each.npy", self.units_per_row.astype(np.float64))
        about = {"unit": self.unit, "steps": self.steps, "figures": dict(self.stats)}
        (folder / "fitted.json").write_text(json.dumps(about, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> FitResult:
        """Load a result that `save` wrote."""
        visit_counts, units_per_row = (np.load(folder / name, allow_pickle=False) for name in ("seen.npy", "each.npy"))
        about = json.loads((folder / "fitted.json").read_text())
        return cls(about["unit"], visit_counts, units_per_row, about["steps"], about["figures"])

    @classmethod
    def closed_form(
        cls, unit: str, rows: int, *, units_per_row: np.ndarray | float = 1.0, stats: Mapping[str, float] | None = None
    ) -> FitResult:
        """Make the result of a closed-form fit, which uses every row once in a single step."""
        units = np.broadcast_to(np.float64(units_per_row), (rows,))
        return cls(unit, np.ones(rows, dtype=np.int64), units, 1, stats or {})


class Generator(Protocol):
    """A generative model. Implementations are dataclasses whose fields are their settings.

    The loop calls a generator like this (here with `init: base`). Each line uses a new instance:

        generator.load(base); result = generator.fit(train, seed=1, scratch=folder); generator.save(model)
        generator.load(model); pool = generator.sample(1000, seed=2)

    Requirements (`autophagy.common.components.generator_checks.check` tests them):

    - `fit` starts from loaded weights, or from new weights if nothing was loaded. With `fresh=True`, `fit` draws new weights and
      keeps only loaded parts that gradient descent does not learn (a tokenizer).
    - The same seed gives the same pool. The first m rows of `sample(n)` are the rows of `sample(m)`.
    - No method reads or changes global random state. `fit` does not change its pool.
    - Generated pools have the columns, types and row shapes of the training pool.
    - After `save` and `load`, a generator returns the same samples and scores. `save` writes no pickle and no time stamp.
    - A field named `sampling` contains all settings of sampling. It never changes the fit.

    Optional members: `continues`, `conditional`, `classes`, and the methods of `Scores`, `CountsTokens`, `Edits`, `Detects` and
    `DependsOnFiles`.
    """

    version: ClassVar[int]
    """Version of the code, part of the cache key. Increase it if a change of the code changes the fit or the samples."""
    modality: ClassVar[str]
    """`analytic`, `text` or `vision`."""
    columns: ClassVar[tuple[str, ...]]
    """Data columns that the generator learns and generates. Other columns are removed from its training pool."""
    continues: ClassVar[bool] = False
    """True if `sample` uses `given` as prompts. If False, configs with `prompts` are rejected."""
    conditional: ClassVar[bool] = False
    """True if the generator learns and generates the column `label` of pools that have it.

    If False, configs with `labels: conditional` are rejected.
    """
    classes: int = 0
    """Number of classes of the data, for conditional generators. The loop sets it before `fit`. A pool may lack some classes."""

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        """Learn from a pool. `scratch` is a folder for checkpoints, from which a killed fit continues."""
        ...

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        """Generate n rows. `given`: n optional prompt rows for the model to continue, used if `continues` is True."""
        ...

    def save(self, folder: Path) -> None:
        """Write the weights and everything else that `sample` needs, except the settings."""
        ...

    def load(self, folder: Path) -> None:
        """Load the files that `save` wrote."""
        ...


@runtime_checkable
class Scores(Protocol):
    """Optional ability `score`: computes the likelihood of rows. A VAE computes a bound. A GAN cannot have this ability."""

    def score(self, pool: Pool) -> np.ndarray:
        """Compute the negative log-likelihood of every row in nats, float64 [n]. Lower is more likely."""
        ...


@runtime_checkable
class CountsTokens(Protocol):
    """Optional ability `tokens`: counts the tokens of rows, so that scores can be computed per token."""

    def tokens(self, pool: Pool) -> np.ndarray:
        """Count the tokens of every row that `score` sums over. Returns int64 [n]."""
        ...


@runtime_checkable
class Edits(Protocol):
    """Optional ability `edit` of text models: replaces tokens with a high probability under the model."""

    def edit(self, pool: Pool, *, above: float, seed: int) -> tuple[Pool, float]:
        """Resample every token with a probability > `above` (Zhu et al. 2024, eq. 4).

        Returns the edited rows and the share of resampled tokens.
        """
        ...


@runtime_checkable
class Detects(Protocol):
    """Optional ability `detect`: detects the watermark that the generator's setting `sampling.watermark` adds to samples."""

    def detect(self, pool: Pool) -> np.ndarray:
        """Compute the z-score of every row, float64 [n].

        A z-score is the number of standard deviations above the mean of rows without the watermark.
        """
        ...


@runtime_checkable
class DependsOnFiles(Protocol):
    """Optional method for generators and feature models whose settings name files, such as a pretrained model."""

    def inputs(self) -> Mapping[str, str]:
        """Return the digests of these files by name. They are part of the cache key, because a path does not fix the content."""
        ...


def supports_prompts(generator: type[Generator] | Generator) -> bool:
    """Return True if a generator uses prompts. Default: False."""
    return bool(getattr(generator, "continues", False))


def supports_labels(generator: type[Generator] | Generator) -> bool:
    """Return True if a generator can learn labels. Default: False."""
    return bool(getattr(generator, "conditional", False))


def file_digests_of(component: object) -> Mapping[str, str]:
    """Return the digests of the files that a component's settings name. Default: an empty mapping."""
    return component.inputs() if isinstance(component, DependsOnFiles) else {}
