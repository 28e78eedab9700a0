"""The store: everything that is made, kept under the hash of how it was made, and what looks after it.

store     find or make an artifact       artifact   its manifest, its digests, its damage
ledger    what unfinished runs use       kept       what finished runs need
verify    check every byte               free       what nobody needs, to be freed
contents  what lies in its folders
"""

from .artifact import Artifact, key_of
from .cache import ArtifactMissing, Store

__all__ = ["Artifact", "ArtifactMissing", "Store", "key_of"]
