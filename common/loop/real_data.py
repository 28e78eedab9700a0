"""The real data of an experiment: its splits, which rows of them a seed learns from, and whether they suffice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from ..components.class_imbalance import long_tailed_splits
from ..components.policy import reserve_rows
from ..config.arms import Arm
from ..config.schema import Experiment
from ..core.errors import UserError
from ..core.pool import Pool
from ..core.random_streams import stream
from .collect import spare_rows
from .output_checks import validate_data


class RealData:
    """The real rows of an experiment, loaded when they are first asked for."""

    def __init__(self, experiment: Experiment):
        self.experiment = experiment

    @cached_property
    def splits(self) -> Mapping[str, Pool]:
        """train, heldout and control (eval_size rows each), base where the data has one, and what the feature model learns from.

        UserError if rows or columns are missing.
        """
        wanted = self.experiment
        splits = dict(wanted.data.build().load(eval_size=wanted.eval_size))
        validate_data(wanted.data.use, splits)
        splits["features"] = splits["train"]
        if wanted.imbalance is not None:
            splits.update(long_tailed_splits(splits, wanted.imbalance, eval_size=wanted.eval_size))
        self._check_rows(splits)
        self._check_columns(splits)
        self._check_reserve(len(splits["train"]) - wanted.size, of=len(splits["train"]))
        return splits

    @cached_property
    def classes(self) -> int:
        """How many classes the data has, where generators are told of them; else 0."""
        if self.experiment.labels == "none":
            return 0
        return 1 + max(int(pool.array("label").max()) for pool in self.splits.values() if "label" in pool)

    def reserved(self, arm: Arm) -> int:
        """Rows of the reserve that the policy of an arm uses itself."""
        return reserve_rows(arm.policy.build(), size=self.experiment.size, generations=self.experiment.generations)

    def split_pool(self, seed: int) -> tuple[Pool, Pool]:
        """The real training pool of a seed, and the reserve no generation has seen, in random order."""
        train = self.splits["train"].only(self.experiment.columns)
        order = stream(seed, "real").permutation(len(train))
        return train.take(order[: self.experiment.size]), train.take(order[self.experiment.size :])

    @cached_property
    def floors(self) -> Sequence[Mapping[str, Pool]]:
        """Real rows in the place of `made` beside others as `heldout`: control against held-out as they were dealt, then random halves
        of both together. The scatter of a metric over them is what chance alone does to it."""
        found = [{"generated": self.splits["control"], "heldout": self.splits["heldout"]}]
        both, n = Pool.concat(found[0].values()), self.experiment.eval_size
        for draw in range(1, self.experiment.floor_draws):
            order = stream(0, "floor", draw).permutation(2 * n)
            found.append({"generated": both.take(order[:n]), "heldout": both.take(order[n:])})
        return found

    def _check_rows(self, splits: Mapping[str, Pool]) -> None:
        wanted = self.experiment
        if len(splits["train"]) < wanted.size:
            raise UserError(
                f"size: {wanted.size} real rows are asked for, data '{wanted.data.use}' has {len(splits['train'])} for training"
            )
        for name in ("heldout", "control"):
            if len(splits[name]) != wanted.eval_size:
                raise UserError(
                    f"eval_size: {wanted.eval_size} {name} rows are asked for, data '{wanted.data.use}' has {len(splits[name])}"
                )

    def _check_columns(self, splits: Mapping[str, Pool]) -> None:
        wanted = self.experiment
        if any(member.base for member in wanted.members.values()) and "base" not in splits:
            raise UserError(f"base: data '{wanted.data.use}' has no base split to pretrain on")
        if missing := set(wanted.columns) - set(splits["train"].columns):
            column = missing.pop()
            if column == "label":
                raise UserError(f"labels: conditional cannot be: data '{wanted.data.use}' has no labels")
            raise UserError(
                f"generator: '{next(iter(wanted.members))}' learns from the column '{column}', "
                f"data '{wanted.data.use}' has {', '.join(splits['train'].columns)}"
            )

    def _check_reserve(self, spare: int, *, of: int) -> None:
        wanted = self.experiment
        for name, arm in wanted.arms.items():
            needed = self.reserved(arm) + len(wanted.members) * spare_rows(arm, size=wanted.size, generations=wanted.generations)
            if needed > spare:
                why = "" if name in wanted.policies else " (which controls: auto adds)"
                raise UserError(
                    f"policies.{name}{why}: needs {needed} real rows that no generation has seen; of {of} "
                    f"training rows, {wanted.size} are the real pool and {spare} are left"
                )
