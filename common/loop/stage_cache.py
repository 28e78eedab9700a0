"""Runs the stages of an experiment through the store and records the cost of each artifact."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..core.errors import UserError
from ..core.provenance import provenance
from ..store import Artifact, ArtifactMissing, Store

T = TypeVar("T")
Build = Callable[[Path, Path], None]
"""A function that writes the files of an artifact into the first folder. The second folder holds checkpoints of killed builds."""
Report = Callable[[str], None]
"""A callback for the current activity, such as "fit", "sample" or "measure frechet"."""

RECIPE_NAMES = {"generated": "made"}
"""Old names of renamed inputs. Recipes (the JSON that is hashed to the key) use the names of version 0.1, so old stores stay valid."""


class StageCache:
    """Store access for the stages of one experiment. Records the cost of each artifact that the experiment uses."""

    def __init__(self, store: Store, report: Report = lambda activity: None):
        self.store, self.report = store, report
        self.seconds: dict[str, tuple[str, float]] = {}
        """By artifact key: name of the stage, and build time in seconds."""
        self._depth = 0
        self._lost: set[str] = set()
        """Keys of artifacts that disappeared or lack dropped files. `run` rebuilds them with all files."""

    def run(self, recipe: Mapping[str, Any], build: Build) -> Artifact:
        """Return the artifact of a recipe. Builds the artifact if the store does not have it."""
        environment: dict[str, str] = {}

        def build_and_record(folder: Path, scratch: Path) -> None:
            build(folder, scratch)
            environment.update(provenance())

        self._depth += 1
        try:
            artifact = self.store.make(recipe, build_and_record, provenance=environment, complete=self._lost)
        finally:
            self._depth -= 1
        if self._depth == 0:  # the build time of a nested stage (features) is part of the outer stage (metric)
            self.seconds[artifact.key] = (_name(recipe), artifact.manifest["provenance"]["seconds"])
        return artifact

    def load(self, recipe: Mapping[str, Any], build: Build, read: Callable[[Path], T]) -> T:
        """Find or build the artifact of a recipe, and return `read(folder)` for its folder."""
        with self.store.reading(self.run(recipe, build)) as folder:
            return read(folder)

    def reset_after_loss(self, missing: ArtifactMissing) -> None:
        """Prepare to restart a chain after an artifact disappeared. The restart reuses all existing artifacts.

        Raises UserError if the same artifact disappeared before.
        """
        if missing.key in self._lost:
            raise UserError(str(missing)) from missing
        self._lost.add(missing.key)
        self.seconds.clear()


def _name(recipe: Mapping[str, Any]) -> str:
    """Return the name of a stage with its metric or curation, such as `fit` or `measure frechet`."""
    component = recipe.get("metric") or recipe.get("curation")
    return " ".join([recipe["stage"], *([component["use"]] if component else [])])
