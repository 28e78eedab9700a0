"""The lab: one experiment with its data and its store, and one method for every stage that makes something.

A stage is an artifact of the store. Its key names its own recipe and the digests of its inputs and nothing else, so
policies share generation 0, and whatever else they happen to have in common.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors.numpy import load_file, save_file

from ..components.curation import CurationResult
from ..components.generator import FitResult, file_digests_of
from ..components.metric import MetricInputs
from ..config.arms import Member
from ..config.registry import ComponentSpec
from ..config.schema import Experiment
from ..core.errors import UserError
from ..core.pool import Pool
from ..core.provenance import provenance
from ..core.random_streams import derive, stream
from ..store import Artifact, ArtifactMissing, Store
from ..store.artifact import MODEL
from .output_checks import validate_curation, validate_features, validate_fit, validate_metric_values, validate_samples, validate_weights
from .real_data import RealData

Made = TypeVar("Made")
Say = Callable[[str], None]
"""Tells whoever watches what is being done: "fit", "sample", "measure frechet"."""


RECIPE_NAMES = {"generated": "made"}
"""Inputs whose name in recipes is the one of version 0.1, so that stores of that version stay valid."""


class Stages:
    """One experiment with its data and its store."""

    def __init__(self, experiment: Experiment, store: Store, *, real: RealData | None = None, say: Say = lambda what: None):
        self.experiment, self.store, self.say = experiment, store, say
        self.real = real or RealData(experiment)
        self.seconds: dict[str, tuple[str, float]] = {}
        """What every stage that this lab used cost when it was made: its name and seconds, by key."""
        self._bases: dict[str, Artifact | None] = {}
        self._depth = 0
        self._gone: set[str] = set()
        """Keys of artifacts that were missed once: their files are needed, so those that were dropped are made again."""

    def again(self, gone: ArtifactMissing) -> None:
        """Be ready to go along a chain again from its start, since an artifact was gone when it was needed.

        What is there is found, what is not is made. UserError if the same one was missed before.
        """
        if gone.key in self._gone:
            raise UserError(str(gone)) from gone
        self._gone.add(gone.key)
        self.seconds.clear()
        self._bases.clear()
        self.__dict__.pop("feature_model", None)

    def _make(self, recipe: Mapping[str, Any], build: Callable[[Path, Path], None]) -> Artifact:
        self._depth += 1
        try:
            artifact = self.store.make(recipe, build, provenance=provenance(), whole=self._gone)
        finally:
            self._depth -= 1
        if self._depth == 0:  # features are made inside the metric that asks first, and counted there
            part = recipe.get("metric") or recipe.get("curation")
            name = " ".join([recipe["stage"], *([part["use"]] if part else [])])
            self.seconds[artifact.key] = (name, artifact.manifest["provenance"]["seconds"])
        return artifact

    def _made(self, recipe: Mapping[str, Any], build: Callable[[Path, Path], None], read: Callable[[Path], Made]) -> Made:
        """What `read` finds in the folder of an artifact."""
        with self.store.reading(self._make(recipe, build)) as folder:
            return read(folder)

    def prepare(self) -> None:
        """Check the data, and make what all chains share: base models and, where anything reads it, the feature model."""
        _ = self.real.splits
        for member in self.experiment.members.values():
            self.base(member)
        curations = [arm.curation for arm in self.experiment.arms.values() if arm.curation is not None]
        if any("features" in part.build().reads for part in (*self.experiment.metrics, *curations)):
            _ = self.feature_model

    # ---- stages ---------------------------------------------------------------------------------------------------

    def base(self, member: Member) -> Artifact | None:
        """The model that a member's fine-tuning starts from, trained once on the base split; shared by all chains."""
        if member.name not in self._bases:
            self._bases[member.name] = None if member.base is None else self._fit(
                member.base, self.real.splits["base"].only(self.experiment.columns), seed=derive(0, "base"), start=None, fresh=False,
                saying="train the base model",
            )  # fmt: skip
        return self._bases[member.name]

    @cached_property
    def feature_model(self) -> Artifact | None:
        """The fixed feature model, trained once on the real training split."""
        part = self.experiment.features
        if part is None:
            return None
        train, seed = self.real.splits["features"], derive(0, "features")

        def build(folder: Path, scratch: Path) -> None:
            self.say("train the feature model")
            model = part.build()
            model.fit(train, seed=seed, scratch=scratch)
            model.save(folder)

        recipe = {"stage": "feature-model", "features": part.recipe, "inputs": inputs_of(part), "pool": train.digest, "seed": seed}
        return self._make(recipe, build)

    def fit(
        self, member: Member, train: Pool, *, seed: int, generation: int, first: Artifact | None, previous: Artifact | None
    ) -> Artifact:
        """A member's model of a generation; `first` and `previous` are its models of generation 0 and of the one before."""
        base, init = self.base(member), member.start(self.experiment.init)
        start = {"base": base, "previous": previous or base, "scratch": first or base}[init]
        return self._fit(member.generator, train, seed=derive(seed, "fit", generation), start=start, fresh=init == "scratch", saying="fit")

    def _fit(self, part: ComponentSpec, train: Pool, *, seed: int, start: Artifact | None, fresh: bool, saying: str) -> Artifact:
        def build(folder: Path, scratch: Path) -> None:
            self.say(saying)
            generator = part.build()
            if self.real.classes:
                generator.classes = self.real.classes
            if start is not None:
                self._load(generator, start)
            fitted = generator.fit(train, seed=seed, scratch=scratch, fresh=fresh)
            validate_fit(part.use, fitted, rows=len(train))
            (folder / MODEL).mkdir()
            generator.save(folder / MODEL)
            validate_weights(part.use, folder / MODEL)
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
        if self.real.classes:
            recipe["classes"] = self.real.classes
        return self._make(recipe, build)

    def sample(self, member: Member, model: Artifact, *, n: int, seed: int, given: Pool | None = None) -> Pool:
        """n rows made by a member's model, continuing the `given` ones if there are any."""
        part = member.generator
        recipe = {
            "stage": "sample",
            "generator": part.recipe,
            "model": model.digest,
            "given": given.digest if given else None,
            "n": n,
            "seed": seed,
        }

        def build(folder: Path, scratch: Path) -> None:
            self.say("sample")
            generated = self.load(part, model).sample(n, seed=seed, given=given)
            validate_samples(part.use, generated, n=n, like=self.real.splits["train"].only(self.experiment.columns).bare())
            generated.save(folder)

        return self._made(recipe, build, Pool.load)

    def curate(self, curation: ComponentSpec, member: Member, candidates: Pool, shown: Mapping[str, Any], *, seed: int) -> CurationResult:
        """What a curation keeps of candidates. It sees their data alone: not where they came from, nor any other note."""
        bare = candidates.bare()
        recipe, parts = self._reading(curation.build().reads, shown, member)
        recipe |= {"stage": "curate", "curation": curation.recipe, "candidates": bare.digest, "seed": seed}

        def build(folder: Path, scratch: Path) -> None:
            self.say(f"curate: {curation.use}")
            kept = curation.build()(bare, MetricInputs(f"curation {curation.use}", parts), rng=stream(seed))
            validate_curation(curation.use, kept, candidates=bare)
            kept.save(folder)

        return self._made(recipe, build, CurationResult.load)

    def load(self, part: ComponentSpec, model: Artifact) -> Any:
        """A generator with the weights of a model."""
        generator = part.build()
        self._load(generator, model)
        return generator

    def fitted(self, model: Artifact) -> FitResult:
        """What the fit of a model did, row by row."""
        with self.store.reading(model) as folder:
            return FitResult.load(folder)

    def _load(self, generator: Any, model: Artifact) -> None:
        with self.store.reading(model, whole=True) as folder:
            generator.load(folder / MODEL)

    def features(self, pool: Pool) -> Mapping[str, np.ndarray]:
        """What the feature model says of a pool; computed once per pool."""
        extractor = self.feature_model
        recipe = {"stage": "features", "model": extractor.digest, "features": self.experiment.features.recipe, "pool": pool.digest}

        def build(folder: Path, scratch: Path) -> None:
            model = self.experiment.features.build()
            with self.store.reading(extractor) as trained:
                model.load(trained)
            arrays = {name: np.ascontiguousarray(values) for name, values in model(pool).items()}
            validate_features(self.experiment.features.use, arrays, rows=len(pool))
            save_file(arrays, folder / "features.safetensors")

        return self._made(recipe, build, lambda folder: load_file(folder / "features.safetensors"))

    def measure(self, metric: ComponentSpec, member: Member, shown: Mapping[str, Any]) -> Mapping[str, float]:
        """The numbers of a metric. `shown` holds pools, artifacts of models; what the metric reads makes up the key."""
        instance = metric.build()
        recipe, parts = self._reading(instance.reads, shown, member)
        recipe |= {"stage": "measure", "metric": metric.recipe}

        def build(folder: Path, scratch: Path) -> None:
            self.say(f"measure {metric.use}")
            values = {name: float(value) for name, value in instance(MetricInputs(f"metric {metric.use}", parts)).items()}
            validate_metric_values(metric.use, instance, values)
            (folder / "values.json").write_text(json.dumps(values))

        return self._made(recipe, build, lambda folder: json.loads((folder / "values.json").read_text()))

    def _reading(
        self, reads: Sequence[str], shown: Mapping[str, Any], member: Member
    ) -> tuple[dict[str, Any], Mapping[str, Callable[[], Any]]]:
        """For what reads some of what is shown: its part of the recipe, and a way to have each thing only when it is looked at."""
        found = {name: shown[name] for name in reads if name in shown}
        recipe: dict[str, Any] = {"inputs": {RECIPE_NAMES.get(name, name): value.digest for name, value in found.items()}}
        parts: dict[str, Callable[[], Any]] = {}
        for name, value in found.items():
            is_model = isinstance(value, Artifact)
            parts[name] = (lambda model=value: self.load(member.generator, model)) if is_model else (lambda pool=value: pool)
        if "features" in reads:
            recipe["inputs"]["features"] = self.feature_model.digest
            recipe["features"] = self.experiment.features.recipe  # what it does when called, beside what it has learned
            parts["features"] = lambda: self.features
        if any(isinstance(value, Artifact) for value in found.values()):
            recipe["generator"] = member.generator.recipe
        return recipe, parts


def inputs_of(part: ComponentSpec) -> Mapping[str, str]:
    """Digests of the files a part's settings point at (a pretrained checkpoint), if it has any: names are not contents."""
    return file_digests_of(part.build())
