"""The store: caches artifacts under the hash of their recipe, verifies them and removes unneeded ones.

artifact             manifest, digests and verification of one artifact
cache                `Store`: finds an artifact or builds it
read_only            a `Store` that finds artifacts and never builds them
layout               paths inside a store
in_use               ledgers: keys that unfinished runs have used
run_records          `provenance.json`: artifacts that finished runs need
garbage_collection   removes artifacts that no run needs
verify               compares every byte with the digests

Imports: core.
"""

from .artifact import Artifact, key_of
from .cache import ArtifactMissing, Store

__all__ = ["Artifact", "ArtifactMissing", "Store", "key_of"]
