"""The store: every artifact is kept under the hash of its recipe. Also verifies and cleans the store.

artifact             an artifact: manifest, digests, verification
cache                `Store`: finds an artifact or builds it
read_only            a store that finds artifacts and never builds them
layout               paths inside a store
in_use               the keys that unfinished runs have used
run_records          `provenance.json`: the artifacts that finished runs need
garbage_collection   removes artifacts that no run needs
verify               checks every byte

Imports: core.
"""

from .artifact import Artifact, key_of
from .cache import ArtifactMissing, Store

__all__ = ["Artifact", "ArtifactMissing", "Store", "key_of"]
