"""The contract of a generator: a model that learns from a pool and generates a pool.

The functions of this module read the optional members of a generator, with a default for generators that lack them.
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
    """What a fit did with each of the n rows of its training pool. The audit checks it against the policy."""

    unit: str
    """What the generator consumes: `tokens`, `images` or `samples`."""
    visit_counts: np.ndarray
    """How often each row was trained on; int64 [n]."""
    units_per_row: np.ndarray
    """Units that one visit of each row consumes; float64 [n]."""
    steps: int
    """Optimizer steps."""
    stats: Mapping[str, float] = field(default_factory=dict)
    """Numbers that the generator reports about its fit, such as the last loss. Must be finite."""

    @property
    def consumed(self) -> np.ndarray:
        """Units consumed from each row; float64 [n]."""
        return np.asarray(self.visit_counts * self.units_per_row)

    def save(self, folder: Path) -> None:
        """Write the result into an artifact. File names and keys are fixed by the format of the store."""
        np.save(folder / "seen.npy", self.visit_counts.astype(np.int64))
        np.save(folder / "each.npy", self.units_per_row.astype(np.float64))
        about = {"unit": self.unit, "steps": self.steps, "figures": dict(self.stats)}
        (folder / "fitted.json").write_text(json.dumps(about, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> FitResult:
        """Read what `save` wrote."""
        visit_counts, units_per_row = (np.load(folder / name, allow_pickle=False) for name in ("seen.npy", "each.npy"))
        about = json.loads((folder / "fitted.json").read_text())
        return cls(about["unit"], visit_counts, units_per_row, about["steps"], about["figures"])

    @classmethod
    def closed_form(
        cls, unit: str, rows: int, *, units_per_row: np.ndarray | float = 1.0, stats: Mapping[str, float] | None = None
    ) -> FitResult:
        """The result of a fit in closed form: one step that uses every row once."""
        units = np.broadcast_to(np.float64(units_per_row), (rows,))
        return cls(unit, np.ones(rows, dtype=np.int64), units, 1, stats or {})


class Generator(Protocol):
    """Learns from a pool and generates a pool. A dataclass whose fields are its settings.

    The loop calls a generator like this, with a new instance for every line (here with `init: base`):

        generator.load(base); result = generator.fit(train, seed=1, scratch=folder); generator.save(model)
        generator.load(model); pool = generator.sample(1000, seed=2)

    Requirements, which `autophagy.common.components.generator_checks.check` tests:

    - `fit` starts from the weights that `load` read, or from new weights if nothing was loaded. With `fresh=True` it draws new
      weights and keeps only what is not learned by gradient descent (a tokenizer).
    - The same seed gives the same pool, and `sample(n)` begins with the rows of `sample(m)` for m < n.
    - Global random state is neither read nor changed. `fit` does not change its pool.
    - Generated pools have the columns, types and row shapes of the training pool.
    - A generator that is saved and loaded samples and scores as before. `save` writes no pickle and no time stamp.
    - A field named `sampling` controls how rows are drawn and never changes the fit.

    Optional members: `continues`, `conditional`, `classes`, and the methods of `Scores`, `CountsTokens`, `Edits`, `Detects` and
    `DependsOnFiles`.
    """

    version: ClassVar[int]
    """Part of every cache key. Increase it when a change of the code changes the fit or the samples."""
    modality: ClassVar[str]
    """`analytic`, `text` or `vision`."""
    columns: ClassVar[tuple[str, ...]]
    """The data columns that it learns and generates. Other columns are removed from its training pool."""
    continues: ClassVar[bool] = False
    """True if `sample` uses its `given` rows as prompts. Else a config with prompts is rejected."""
    conditional: ClassVar[bool] = False
    """True if it also learns and generates the column `label` when the pool has one. Else `labels: conditional` is rejected."""
    classes: int = 0
    """For conditional generators: the number of classes of the data, set before `fit`. A pool may lack some of them."""

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        """Learn from a pool. `scratch`: a folder for checkpoints, from which a killed fit continues."""
        ...

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        """Generate n rows. `given`: n rows to continue, if it `continues`."""
        ...

    def save(self, folder: Path) -> None:
        """Write the weights and everything else that `sample` needs and settings do not contain."""
        ...

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        ...


@runtime_checkable
class Scores(Protocol):
    """Optional ability `score`: the likelihood of given rows. GANs do not have it; a VAE has a bound."""

    def score(self, pool: Pool) -> np.ndarray:
        """Negative log-likelihood of every row in nats, float64 [n]; lower is more likely."""
        ...


@runtime_checkable
class CountsTokens(Protocol):
    """Optional ability `tokens`: the length of rows, by which scores are normalised."""

    def tokens(self, pool: Pool) -> np.ndarray:
        """The number of tokens of every row that `score` sums over, int64 [n]."""
        ...


@runtime_checkable
class Edits(Protocol):
    """Optional ability `edit` of text models: replace tokens that the model finds too likely."""

    def edit(self, pool: Pool, *, above: float, seed: int) -> tuple[Pool, float]:
        """The rows with every token of probability > `above` resampled (Zhu et al. 2024, eq. 4), and the share of resampled tokens."""
        ...


@runtime_checkable
class Detects(Protocol):
    """Optional ability `detect`: find the watermark that the generator's own `sampling.watermark` adds to samples."""

    def detect(self, pool: Pool) -> np.ndarray:
        """z-score of every row, float64 [n]: standard deviations above the mean of rows without the watermark."""
        ...


@runtime_checkable
class DependsOnFiles(Protocol):
    """Optional for generators and feature models whose settings name files, such as a pretrained model."""

    def inputs(self) -> Mapping[str, str]:
        """Digests of these files by name. They are part of the cache key, because a path does not fix the content."""
        ...


def supports_prompts(generator: type[Generator] | Generator) -> bool:
    """True if a generator uses the rows that it is asked to continue. Default: False."""
    return bool(getattr(generator, "continues", False))


def supports_labels(generator: type[Generator] | Generator) -> bool:
    """True if a generator can learn labels. Default: False."""
    return bool(getattr(generator, "conditional", False))


def file_digests_of(component: object) -> Mapping[str, str]:
    """Digests of the files that a component's settings name. Default: none."""
    return component.inputs() if isinstance(component, DependsOnFiles) else {}
