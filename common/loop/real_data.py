"""Loads the real data of an experiment, checks that it has enough rows, and draws the training pool of each seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from ..components.class_imbalance import long_tailed_splits
from ..components.dataset import load_splits
from ..components.policy import reserve_rows
from ..config.arms import Arm
from ..config.schema import Experiment
from ..core.errors import UserError
from ..core.pool import Pool
from ..core.random_streams import stream
from .collect import real_rows_to_collect
from .output_checks import validate_data


class RealData:
    """The real data of an experiment. Loads the data on first use.

    load: returns the splits of the data set. Default: read the data set, without a store.
    """

    def __init__(self, experiment: Experiment, *, load: Callable[[], Mapping[str, Pool]] | None = None):
        self.experiment = experiment
        self._load = load or (lambda: load_splits(experiment.data.build(), eval_size=experiment.eval_size))

    @cached_property
    def splits(self) -> Mapping[str, Pool]:
        """The splits by name: `train`, `heldout` and `control` (eval_size rows each), `features` (for the feature model), maybe `base`.

        Raises UserError if rows or columns are missing.
        """
        experiment = self.experiment
        splits = dict(self._load())
        validate_data(experiment.data.use, splits)
        splits["features"] = splits["train"]
        if experiment.imbalance is not None:
            splits.update(long_tailed_splits(splits, experiment.imbalance, eval_size=experiment.eval_size))
        self._check_rows(splits)
        self._check_columns(splits)
        self._check_reserve(available=len(splits["train"]) - experiment.size, total=len(splits["train"]))
        return splits

    def reset(self) -> None:
        """Load the data again on the next use."""
        for name in ("splits", "classes", "floors"):
            self.__dict__.pop(name, None)

    @cached_property
    def classes(self) -> int:
        """Number of classes if generators are conditional, else 0."""
        if self.experiment.labels == "none":
            return 0
        return 1 + max(int(pool.array("label").max()) for pool in self.splits.values() if "label" in pool)

    def reserved(self, arm: Arm) -> int:
        """Return the number of reserve rows that the policy of an arm uses."""
        return reserve_rows(arm.policy.build(), size=self.experiment.size, generations=self.experiment.generations)

    def draw_training_pool(self, seed: int) -> tuple[Pool, Pool]:
        """Return the real training pool of a seed and the reserve (all other training rows), both in random order."""
        train = self.splits["train"].only(self.experiment.columns)
        order = stream(seed, "real").permutation(len(train))
        return train.take(order[: self.experiment.size]), train.take(order[self.experiment.size :])

    @cached_property
    def floors(self) -> Sequence[Mapping[str, Pool]]:
        """Pairs of real pools for the floor of a metric. Each pair replaces the inputs `generated` and `heldout`.

        The first pair is the control split and the held-out split. The other pairs are random halves of both splits together.
        The spread of a metric over the pairs estimates its sampling noise.
        """
        draws = [{"generated": self.splits["control"], "heldout": self.splits["heldout"]}]
        both, n = Pool.concat(draws[0].values()), self.experiment.eval_size
        for draw in range(1, self.experiment.floor_draws):
            order = stream(0, "floor", draw).permutation(2 * n)
            draws.append({"generated": both.take(order[:n]), "heldout": both.take(order[n:])})
        return draws

    def _check_rows(self, splits: Mapping[str, Pool]) -> None:
        experiment = self.experiment
        if len(splits["train"]) < experiment.size:
            raise UserError(f"size: {experiment.size} exceeds the {len(splits['train'])} training rows of data '{experiment.data.use}'")
        for name in ("heldout", "control"):
            if len(splits[name]) != experiment.eval_size:
                raise UserError(
                    f"eval_size: expected {experiment.eval_size} {name} rows, but data '{experiment.data.use}' has {len(splits[name])}"
                )

    def _check_columns(self, splits: Mapping[str, Pool]) -> None:
        experiment = self.experiment
        if any(member.base for member in experiment.members.values()) and "base" not in splits:
            raise UserError(f"base: data '{experiment.data.use}' has no base split; remove `base:` or use other data")
        missing = sorted(set(experiment.columns) - set(splits["train"].columns))
        if "label" in missing:
            raise UserError(f"labels: conditional: data '{experiment.data.use}' has no labels; set labels: none")
        if missing:
            raise UserError(
                f"generator: '{next(iter(experiment.members))}' needs the column '{missing[0]}', "
                f"but data '{experiment.data.use}' has {', '.join(splits['train'].columns)}"
            )

    def _check_reserve(self, *, available: int, total: int) -> None:
        experiment = self.experiment
        for name, arm in experiment.arms.items():
            collected = real_rows_to_collect(arm, size=experiment.size, generations=experiment.generations)
            needed = self.reserved(arm) + len(experiment.members) * collected
            if needed > available:
                origin = "" if name in experiment.policies else " (added by controls: auto)"
                raise UserError(
                    f"policies.{name}{origin}: needs {needed} unseen real rows, but of {total} training rows {experiment.size} are the "
                    f"real training pool and {available} are left; reduce size or generations, or use more data"
                )
