"""Runs stages through the store: builds an artifact or finds it, and keeps account of its cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..core.errors import UserError
from ..core.provenance import provenance
from ..store import Artifact, ArtifactMissing, Store

T = TypeVar("T")
Build = Callable[[Path, Path], None]
"""Builds an artifact: writes files into the first folder; the second keeps what a killed build can continue from."""
Report = Callable[[str], None]
"""Receives the current activity: "fit", "sample", "measure frechet"."""

RECIPE_NAMES = {"generated": "made"}
"""Inputs that recipes know by their name in version 0.1, so that stores of that version stay valid."""


class StageCache:
    """The store of one experiment, with the cost of every stage that was used."""

    def __init__(self, store: Store, report: Report = lambda activity: None):
        self.store, self.report = store, report
        self.seconds: dict[str, tuple[str, float]] = {}
        """For the key of each used artifact: the name of its stage, and the seconds that building it took."""
        self._depth = 0
        self._lost: set[str] = set()
        """Keys of artifacts that went missing. Files that were dropped from them are needed, so they are rebuilt."""

    def run(self, recipe: Mapping[str, Any], build: Build) -> Artifact:
        """The artifact of a recipe, built if the store does not have it."""
        self._depth += 1
        try:
            artifact = self.store.make(recipe, build, provenance=provenance(), complete=self._lost)
        finally:
            self._depth -= 1
        if self._depth == 0:  # features are built inside the metric that needs them first; its seconds include theirs
            self.seconds[artifact.key] = (_name(recipe), artifact.manifest["provenance"]["seconds"])
        return artifact

    def load(self, recipe: Mapping[str, Any], build: Build, read: Callable[[Path], T]) -> T:
        """What `read` returns for the folder of the recipe's artifact."""
        with self.store.reading(self.run(recipe, build)) as folder:
            return read(folder)

    def reset_after_loss(self, missing: ArtifactMissing) -> None:
        """Prepare for following a chain again after an artifact disappeared: existing artifacts are reused.

        Raises UserError if the same artifact was missing before.
        """
        if missing.key in self._lost:
            raise UserError(str(missing)) from missing
        self._lost.add(missing.key)
        self.seconds.clear()


def _name(recipe: Mapping[str, Any]) -> str:
    """`fit`, `measure frechet`, ...: the stage, with the metric or curation that it runs."""
    component = recipe.get("metric") or recipe.get("curation")
    return " ".join([recipe["stage"], *([component["use"]] if component else [])])
