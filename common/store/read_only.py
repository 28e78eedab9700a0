"""A read-only store, which finds artifacts and never builds them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from .artifact import Artifact
from .cache import Store


class ArtifactNotBuilt(Exception):
    """The store has no artifact for a recipe."""


class ReadOnlyStore(Store):
    """A store whose `make` raises ArtifactNotBuilt instead of building an artifact. Same parameters as `Store`.

    `found` maps the key of each artifact that `make` has returned to the artifact.
    """

    def __init__(self, root: Path, *, on_use: Callable[[str], None] = lambda key: None):
        super().__init__(root, on_use=on_use)
        self.found: dict[str, Artifact] = {}

    def make(
        self,
        recipe: Mapping[str, Any],
        build: Callable[[Path, Path], None],
        *,
        provenance: Mapping[str, Any] | None = None,
        complete: Collection[str] = (),
    ) -> Artifact:
        artifact = self.find(recipe)
        if artifact is None:
            raise ArtifactNotBuilt
        self.found[artifact.key] = artifact
        return artifact
