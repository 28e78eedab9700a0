"""The lab: one experiment with its data and its store, and one method for every stage that makes something.

A stage is an artifact of the store. Its key names its own recipe and the digests of its inputs and nothing else, so
policies share generation 0, and whatever else they happen to have in common.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from .config import Experiment
from .errors import UserError
from .metrics import Evidence
from .plugins import Part, find
from .policies import reserve_rows
from .pool import Pool
from .seeds import derive, stream
from .store import Artifact, Store

Say = Callable[[str], None]
"""Tells whoever watches what is being done: "fit", "sample", "measure frechet"."""


class Lab:
    """One experiment with its data and its store."""

    def __init__(self, experiment: Experiment, store: Store, *, say: Say = lambda what: None):
        self.experiment, self.store, self.say = experiment, store, say

    # ---- data -----------------------------------------------------------------------------------------------------

    @cached_property
    def splits(self) -> Mapping[str, Pool]:
        """train, heldout and control (eval_size rows each), and base where the data has one. UserError if rows are missing."""
        wanted = self.experiment
        splits = wanted.data.build().load(eval_size=wanted.eval_size)
        if len(splits["train"]) < wanted.size:
            raise UserError(
                f"size: {wanted.size} real rows are asked for, data '{wanted.data.use}' has {len(splits['train'])} for training"
            )
        for name in ("heldout", "control"):
            if len(splits[name]) != wanted.eval_size:
                raise UserError(
                    f"eval_size: {wanted.eval_size} {name} rows are asked for, data '{wanted.data.use}' has {len(splits[name])}"
                )
        if wanted.base is not None and "base" not in splits:
            raise UserError(f"base: data '{wanted.data.use}' has no base split to pretrain on")
        if missing := set(self.columns) - set(splits["train"].columns):
            raise UserError(
                f"generator: '{wanted.generator.use}' learns from the column '{missing.pop()}', "
                f"data '{wanted.data.use}' has {', '.join(splits['train'].columns)}"
            )
        spare = len(splits["train"]) - wanted.size
        for name, policy in wanted.policies.items():
            needed = reserve_rows(policy.build(), size=wanted.size, generations=wanted.generations)
            if needed > spare:
                raise UserError(
                    f"policies.{name}: needs {needed} real rows that no generation has seen; of {len(splits['train'])} "
                    f"training rows, {wanted.size} are the real pool and {spare} are left"
                )
        return splits

    @property
    def columns(self) -> tuple[str, ...]:
        """The data columns that go round the loop."""
        return find("generator", self.experiment.generator.use).columns

    def prepare(self) -> None:
        """Check the data, and make what all chains share: the base model and, where a metric reads it, the feature model."""
        _ = self.splits, self.base
        if any("features" in metric.build().reads for metric in self.experiment.metrics):
            _ = self.feature_model

    def deal(self, seed: int) -> tuple[Pool, Pool]:
        """The real training pool of a seed, and the reserve no generation has seen, in random order."""
        train = self.splits["train"].only(self.columns)
        order = stream(seed, "real").permutation(len(train))
        return train.take(order[: self.experiment.size]), train.take(order[self.experiment.size :])

    # ---- stages ---------------------------------------------------------------------------------------------------

    @cached_property
    def base(self) -> Artifact | None:
        """The model that fine-tuning starts from, trained once on the base split; shared by all chains."""
        part = self.experiment.base_generator
        if part is None:
            return None
        return self._fit(
            part, self.splits["base"].only(self.columns), seed=derive(0, "base"), start=None, fresh=False, saying="train the base model"
        )

    @cached_property
    def feature_model(self) -> Artifact | None:
        """The fixed feature model, trained once on the whole training split."""
        part = self.experiment.features
        if part is None:
            return None
        train, seed = self.splits["train"], derive(0, "features")

        def build(folder: Path, scratch: Path) -> None:
            self.say("train the feature model")
            model = part.build()
            model.fit(train, seed=seed, scratch=scratch)
            model.save(folder)

        recipe = {"stage": "feature-model", "features": part.recipe, "pool": train.digest, "seed": seed}
        return self.store.make(recipe, build, provenance=provenance())

    def fit(self, train: Pool, *, seed: int, generation: int, first: Artifact | None, previous: Artifact | None) -> Artifact:
        """The model of a generation; `first` and `previous` are the models of generation 0 and of the one before."""
        start = {"base": self.base, "previous": previous or self.base, "scratch": first or self.base}[self.experiment.start]
        return self._fit(
            self.experiment.generator, train, seed=derive(seed, "fit", generation), start=start,
            fresh=self.experiment.start == "scratch", saying="fit",
        )  # fmt: skip

    def _fit(self, part: Part, train: Pool, *, seed: int, start: Artifact | None, fresh: bool, saying: str) -> Artifact:
        def build(folder: Path, scratch: Path) -> None:
            self.say(saying)
            generator = part.build()
            if start is not None:
                generator.load(start.folder / "model")
            fitted = generator.fit(train, seed=seed, scratch=scratch, fresh=fresh)
            (folder / "model").mkdir()
            generator.save(folder / "model")
            fitted.save(folder)

        recipe = {
            "stage": "fit",
            "generator": {name: value for name, value in part.recipe.items() if name != "sampling"},
            "inputs": inputs_of(part),
            "pool": train.digest,
            "start": start.digest if start else None,
            "fresh": fresh,
            "seed": seed,
        }
        return self.store.make(recipe, build, provenance=provenance())

    def sample(self, model: Artifact, *, n: int, seed: int, generation: int, real: Pool) -> Pool:
        """n rows made by a model, noted with the generation that made them."""
        part = self.experiment.generator
        given = self._prompts(real, n=n, seed=seed, generation=generation)
        recipe = {
            "stage": "sample",
            "generator": part.recipe,
            "model": model.digest,
            "given": given.digest if given else None,
            "n": n,
            "generation": generation,
            "seed": derive(seed, "sample", generation),
        }

        def build(folder: Path, scratch: Path) -> None:
            self.say("sample")
            made = self.load(part, model).sample(n, seed=recipe["seed"], given=given)
            if len(made) != n or set(made.columns) != set(real.columns):
                raise UserError(f"generator '{part.use}' was asked for {n} rows of {real.columns}, it gave {made}")
            made.note(generation=generation).save(folder)

        return Pool.load(self.store.make(recipe, build, provenance=provenance()).folder)

    def _prompts(self, real: Pool, *, n: int, seed: int, generation: int) -> Pool | None:
        if self.experiment.prompts == "none":
            return None
        drawn = "frozen" if self.experiment.prompts == "frozen" else generation
        order = stream(seed, "prompts", drawn).permutation(len(real))
        return real.take(np.resize(order, n))  # every real row once before one comes again

    def load(self, part: Part, model: Artifact) -> Any:
        """A generator with the weights of a model."""
        generator = part.build()
        generator.load(model.folder / "model")
        return generator

    def features(self, pool: Pool) -> Mapping[str, np.ndarray]:
        """What the feature model says of a pool; computed once per pool."""
        extractor = self.feature_model
        recipe = {"stage": "features", "model": extractor.digest, "features": self.experiment.features.recipe, "pool": pool.digest}

        def build(folder: Path, scratch: Path) -> None:
            model = self.experiment.features.build()
            model.load(extractor.folder)
            arrays = {name: np.ascontiguousarray(values) for name, values in model(pool).items()}
            save_file(arrays, folder / "features.safetensors")

        return load_file(self.store.make(recipe, build, provenance=provenance()).folder / "features.safetensors")

    def measure(self, metric: Part, shown: Mapping[str, Any]) -> Mapping[str, float]:
        """The numbers of a metric. `shown` holds pools, artifacts of models; what the metric reads makes up the key."""
        instance = metric.build()
        reads = {name: shown[name] for name in instance.reads if name in shown}
        inputs = {name: value.digest for name, value in reads.items()}
        recipe: dict[str, Any] = {"stage": "measure", "metric": metric.recipe, "inputs": inputs}
        parts: dict[str, Callable[[], Any]] = {}
        for name, value in reads.items():
            is_model = isinstance(value, Artifact)
            parts[name] = (lambda model=value: self.load(self.experiment.generator, model)) if is_model else (lambda pool=value: pool)
        if "features" in instance.reads:
            inputs["features"] = self.feature_model.digest
            recipe["features"] = self.experiment.features.recipe  # what it does when called, beside what it has learned
            parts["features"] = lambda: self.features

        def build(folder: Path, scratch: Path) -> None:
            self.say(f"measure {metric.use}")
            values = {name: float(value) for name, value in instance(Evidence(metric.use, parts)).items()}
            if broken := [name for name, value in values.items() if not np.isfinite(value)]:
                raise UserError(f"metric '{metric.use}': {broken[0]} is {values[broken[0]]}; a metric must stay finite")
            (folder / "values.json").write_text(json.dumps(values))

        if {"model", "base"} & set(reads):
            recipe["generator"] = self.experiment.generator.recipe
        artifact = self.store.make(recipe, build, provenance=provenance())
        return json.loads((artifact.folder / "values.json").read_text())


def inputs_of(part: Part) -> Mapping[str, str]:
    """Digests of the files a part's settings point at (a pretrained checkpoint), if it has any: names are not contents."""
    made = part.build()
    return made.inputs() if hasattr(made, "inputs") else {}


RECORDED = (
    *("autophagy", "torch", "torchvision", "transformers", "tokenizers"),
    *("diffusers", "accelerate", "torchmetrics", "numpy", "pyarrow"),
)
"""Packages whose versions are kept with every artifact."""


def provenance() -> dict[str, str]:
    """Where and with what something was made. Written beside results, never part of a key."""
    device = os.environ.get("AUTOPHAGY_DEVICE", "auto")
    if device == "auto" and (torch := sys.modules.get("torch")):
        device = "cuda" if torch.cuda.is_available() else "cpu"
    where = {"machine": platform.machine(), "system": platform.system(), "device": device}
    return {"python": platform.python_version(), **where, **_versions()}


@cache
def _versions() -> Mapping[str, str]:
    return {name: importlib.metadata.version(name) for name in RECORDED}
