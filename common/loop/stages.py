"""Defines the stages of an experiment: read the data, fit, sample, curate, extract features, measure.

Each stage produces an artifact of the store. The recipe of a stage (the JSON that is hashed to the key) contains only the settings of
the stage and the digests of its inputs. So arms share generation 0 and all other stages that they have in common.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from ..components.curation import CurationResult
from ..components.generator import FitResult, file_digests_of
from ..components.metric import MetricInputs
from ..config.arms import Member
from ..config.registry import ComponentSpec
from ..config.schema import Experiment
from ..core.pool import Pool
from ..core.random_streams import derive, stream
from ..store import Artifact, ArtifactMissing, Store
from ..store.artifact import MODEL
from .output_checks import validate_curation, validate_features, validate_fit, validate_metric_values, validate_samples, validate_weights
from .prepared_data import prepared_splits
from .real_data import RealData
from .stage_cache import RECIPE_NAMES, StageCache

Inputs = Mapping[str, Pool | Artifact]
"""Pools and models that metrics and curations can read. Keys are the names in `MetricInputs`."""


@dataclass(frozen=True)
class FitStart:
    """Initial state of a fit."""

    model: Artifact | None = None
    """Model to load. None: the generator uses its own initial weights."""
    fresh: bool = False
    """True: draw new weights, and keep only the parts of `model` that gradient descent does not train, such as a tokenizer."""


class Stages:
    """The stages of one experiment, its real data and its store."""

    def __init__(self, experiment: Experiment, store: Store, *, real: RealData | None = None):
        self.experiment, self.cache = experiment, StageCache(store)
        cache = self.cache  # a reference to `self` would be a cycle, which keeps the data in memory
        self.real = real or RealData(experiment, load=lambda: prepared_splits(experiment, cache))
        self._bases: dict[str, Artifact | None] = {}

    def prepare(self) -> None:
        """Check the data and build the models that all chains share: base models and, if a component reads features, the feature model."""
        _ = self.real.splits
        for member in self.experiment.members.values():
            self.base(member)
        if any("features" in getattr(spec.build(), "reads", ()) for spec in self.experiment.components):
            _ = self.feature_model

    def reset_after_loss(self, missing: ArtifactMissing) -> None:
        """Prepare to restart a chain after an artifact disappeared. Raises UserError if the same artifact disappeared before."""
        self.cache.reset_after_loss(missing)
        self.real.reset()
        self._bases.clear()
        self.__dict__.pop("feature_model", None)

    # ---- models -------------------------------------------------------------------------------------------------------

    def base(self, member: Member) -> Artifact | None:
        """Return the base model of a member. It is trained once, on the base split. None if the config sets no `base` for the member."""
        if member.name not in self._bases:
            self._bases[member.name] = self._fit_base(member)
        return self._bases[member.name]

    def _fit_base(self, member: Member) -> Artifact | None:
        if member.base is None:
            return None
        train = self.real.splits["base"].only(self.experiment.columns)
        return self._fit(member.base, train, seed=derive(0, "base"), start=FitStart(), activity="train the base model")

    def fit(
        self, member: Member, train: Pool, *, seed: int, generation: int, first: Artifact | None, previous: Artifact | None
    ) -> Artifact:
        """Train the model of one member for one generation. `first` and `previous`: its first and its latest model."""
        base, init = self.base(member), member.start(self.experiment.init)
        model = {"base": base, "previous": previous or base, "scratch": first or base}[init]
        start = FitStart(model, fresh=init == "scratch")
        return self._fit(member.generator, train, seed=derive(seed, "fit", generation), start=start, activity="fit")

    def _fit(self, spec: ComponentSpec, train: Pool, *, seed: int, start: FitStart, activity: str) -> Artifact:
        def build(folder: Path, scratch: Path) -> None:
            self.cache.report(activity)
            generator = spec.build()
            if self.real.classes:
                generator.classes = self.real.classes
            if start.model is not None:
                self._load_weights(generator, start.model)
            result = generator.fit(train, seed=seed, scratch=scratch, fresh=start.fresh)
            validate_fit(spec.use, result, rows=len(train))
            (folder / MODEL).mkdir()
            generator.save(folder / MODEL)
            validate_weights(spec.use, folder / MODEL)
            result.save(folder)

        recipe = {
            "stage": "fit",
            "generator": {name: value for name, value in spec.recipe.items() if name != "sampling"},
            "inputs": inputs_of(spec),
            "pool": train.digest,
            "start": start.model.digest if start.model else None,
            "fresh": start.fresh,
            "seed": seed,
        }
        if self.real.classes:
            recipe["classes"] = self.real.classes
        return self.cache.run(recipe, build)

    def fit_result(self, model: Artifact) -> FitResult:
        """Return the result of the fit of a model: visit counts and units of each training row."""
        with self.cache.store.reading(model) as folder:
            return FitResult.load(folder)

    def load_model(self, spec: ComponentSpec, model: Artifact) -> Any:
        """Return a generator with the weights of a model."""
        generator = spec.build()
        self._load_weights(generator, model)
        return generator

    def _load_weights(self, generator: Any, model: Artifact) -> None:
        with self.cache.store.reading(model, complete=True) as folder:
            generator.load(folder / MODEL)

    # ---- pools --------------------------------------------------------------------------------------------------------

    def sample(self, member: Member, model: Artifact, *, n: int, seed: int, given: Pool | None = None) -> Pool:
        """Generate n rows with the model of a member. `given`: optional prompt rows for the model to continue."""
        spec = member.generator

        def build(folder: Path, scratch: Path) -> None:
            self.cache.report("sample")
            generated = self.load_model(spec, model).sample(n, seed=seed, given=given)
            validate_samples(spec.use, generated, n=n, like=self.real.splits["train"].only(self.experiment.columns).bare())
            generated.save(folder)

        recipe = {
            "stage": "sample",
            "generator": spec.recipe,
            "model": model.digest,
            "given": given.digest if given else None,
            "n": n,
            "seed": seed,
        }
        return self.cache.load(recipe, build, Pool.load)

    def curate(self, curation: ComponentSpec, member: Member, candidates: Pool, inputs: Inputs, *, seed: int) -> CurationResult:
        """Apply a curation to `candidates`. The curation sees the data columns only, so it does not know the origin of a row."""
        bare = candidates.bare()
        recipe, loaders = self._inputs(curation.build().reads, inputs, member)
        recipe |= {"stage": "curate", "curation": curation.recipe, "candidates": bare.digest, "seed": seed}

        def build(folder: Path, scratch: Path) -> None:
            self.cache.report(f"curate: {curation.use}")
            result = curation.build()(bare, MetricInputs(f"curation {curation.use}", loaders), rng=stream(seed))
            validate_curation(curation.use, result, candidates=bare)
            result.save(folder)

        return self.cache.load(recipe, build, CurationResult.load)

    # ---- features and metrics -----------------------------------------------------------------------------------------

    @cached_property
    def feature_model(self) -> Artifact | None:
        """The feature model, trained once on real training rows. None if the config sets no `features`."""
        spec = self.experiment.features
        if spec is None:
            return None
        train, seed = self.real.splits["features"], derive(0, "features")

        def build(folder: Path, scratch: Path) -> None:
            self.cache.report("train the feature model")
            model = spec.build()
            model.fit(train, seed=seed, scratch=scratch)
            model.save(folder)

        recipe = {"stage": "feature-model", "features": spec.recipe, "inputs": inputs_of(spec), "pool": train.digest, "seed": seed}
        return self.cache.run(recipe, build)

    def features(self, pool: Pool) -> Mapping[str, np.ndarray]:
        """Compute the arrays of the feature model for a pool."""
        spec, extractor = self.experiment.features, self.feature_model
        assert spec is not None and extractor is not None
        recipe = {"stage": "features", "model": extractor.digest, "features": spec.recipe, "pool": pool.digest}

        def build(folder: Path, scratch: Path) -> None:
            model = spec.build()
            with self.cache.store.reading(extractor) as trained:
                model.load(trained)
            arrays = {name: np.ascontiguousarray(values) for name, values in model(pool).items()}
            validate_features(spec.use, arrays, rows=len(pool))
            save_file(arrays, folder / "features.safetensors")

        return self.cache.load(recipe, build, lambda folder: load_file(folder / "features.safetensors"))

    def measure(self, metric: ComponentSpec, member: Member, inputs: Inputs) -> Mapping[str, float]:
        """Compute the values of a metric. The cache key depends only on the inputs that the metric reads."""
        instance = metric.build()
        recipe, loaders = self._inputs(instance.reads, inputs, member)
        recipe |= {"stage": "measure", "metric": metric.recipe}

        def build(folder: Path, scratch: Path) -> None:
            self.cache.report(f"measure {metric.use}")
            values = {name: float(value) for name, value in instance(MetricInputs(f"metric {metric.use}", loaders)).items()}
            validate_metric_values(metric.use, instance, values)
            (folder / "values.json").write_text(json.dumps(values))

        return self.cache.load(recipe, build, lambda folder: json.loads((folder / "values.json").read_text()))

    def _inputs(self, reads: Sequence[str], inputs: Inputs, member: Member) -> tuple[dict[str, Any], Mapping[str, Callable[[], Any]]]:
        """Return the recipe entries and the loaders of the inputs that a metric or a curation declares in `reads`."""
        declared = {name: inputs[name] for name in reads if name in inputs}
        recipe: dict[str, Any] = {"inputs": {RECIPE_NAMES.get(name, name): value.digest for name, value in declared.items()}}
        loaders: dict[str, Callable[[], Any]] = {name: self._loader(value, member) for name, value in declared.items()}
        if "features" in reads:
            assert self.feature_model is not None and self.experiment.features is not None
            recipe["inputs"]["features"] = self.feature_model.digest
            recipe["features"] = self.experiment.features.recipe  # settings can change the output of the trained model
            loaders["features"] = lambda: self.features
        if any(isinstance(value, Artifact) for value in declared.values()):
            recipe["generator"] = member.generator.recipe
        return recipe, loaders

    def _loader(self, value: Pool | Artifact, member: Member) -> Callable[[], Any]:
        if isinstance(value, Artifact):
            return lambda: self.load_model(member.generator, value)
        return lambda: value


def inputs_of(spec: ComponentSpec) -> Mapping[str, str]:
    """Return the digests of the files that the settings of a component name (a pretrained model). Empty for most components.

    Recipes contain digests because a file can change while its name stays the same.
    """
    return file_digests_of(spec.build())
