"""Feature models for text: a small language model that reads real rows, latent semantic analysis, any transformers encoder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file, save_file
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from ..common.core.errors import UserError
from ..common.core.pool import Pool
from ..common.core.random_streams import derive
from ..common.training.trainer import Training
from .metrics import words

if TYPE_CHECKING:
    from .lm import CausalLM

CHUNK = 64


@dataclass
class LSA:
    """Latent semantic analysis (Deerwester et al. 1990): weighted counts of words and word pairs, projected to `features` directions.

    Words, weights and directions are learned from the real training rows alone, on which every direction has unit variance. It
    sees what a text is about, hardly its grammar, and costs next to nothing. Which feature model sees more depends on the chain: this
    one follows the slow drift of a fine-tuned language model that `reader` hardly notices, `reader` an n-gram model's nonsense.
    """

    features: Annotated[int, Field(ge=2)] = 64
    version: ClassVar[int] = 1

    def fit(self, pool: Pool, *, seed: int, scratch: Path) -> None:
        self._vectorizer = self._new()
        try:
            counts = self._vectorizer.fit_transform(pool.list("text"))
            svd = TruncatedSVD(min(self.features, *(side - 1 for side in counts.shape)), random_state=derive(seed, "lsa") % 2**32)
            with np.errstate(divide="ignore", invalid="ignore"):  # the share of explained variance of rows that are all equal
                directions = svd.fit(counts).components_
        except ValueError as error:  # no word that two rows have, or a single one
            raise UserError(f"features: 'lsa' cannot tell these {len(pool)} rows apart: {error}") from error
        spread = (counts @ directions.T).std(axis=0)
        if not spread.all():
            raise UserError(f"features: 'lsa' cannot tell these {len(pool)} rows apart: there is a direction in which all are equal")
        self._directions = np.ascontiguousarray(directions / spread[:, None], dtype=np.float32)  # [features, n-grams]

    def _new(self, vocabulary: Mapping[str, int] | None = None) -> TfidfVectorizer:
        least = 2 if vocabulary is None else 1  # an n-gram that occurs once tells nothing of two rows
        return TfidfVectorizer(analyzer=_grams, min_df=least, sublinear_tf=True, vocabulary=vocabulary)

    def __call__(self, pool: Pool) -> Mapping[str, np.ndarray]:
        """`features` float32 [n, d]; a row without any known word is 0."""
        return {"features": (self._vectorizer.transform(pool.list("text")) @ self._directions.T).astype(np.float32)}

    def save(self, folder: Path) -> None:
        known = {gram: int(place) for gram, place in sorted(self._vectorizer.vocabulary_.items())}
        (folder / "vocabulary.json").write_text(json.dumps(known, ensure_ascii=False), encoding="utf-8")
        save_file({"directions": self._directions, "weights": self._vectorizer.idf_}, folder / "lsa.safetensors")

    def load(self, folder: Path) -> None:
        arrays = load_file(folder / "lsa.safetensors")
        self._vectorizer = self._new(json.loads((folder / "vocabulary.json").read_text(encoding="utf-8")))
        self._vectorizer.idf_, self._directions = arrays["weights"], arrays["directions"]


@dataclass
class LMEmbedding:
    """The last hidden state of a small language model, averaged over a row; the model reads real training rows once, and no made one.

    For text what `classifier` is for images: an embedded feature model, trained in half a minute, where none can be fetched.
    """

    context: Annotated[int, Field(ge=2)] = 64
    """Tokens of a row that are looked at."""
    training: Training = field(default_factory=lambda: Training(steps=150, batch=32, learning_rate=3e-3))
    version: ClassVar[int] = 1

    def fit(self, pool: Pool, *, seed: int, scratch: Path) -> None:
        self._model = self._new()
        self._model.fit(pool, seed=seed, scratch=scratch)

    def _new(self) -> CausalLM:
        from .lm import CausalLM

        return CausalLM(training=self.training, context=self.context, vocabulary=2048, prompt_tokens=1)

    def __call__(self, pool: Pool) -> Mapping[str, np.ndarray]:
        """`features` float32 [n, 128]."""
        return {"features": self._model.read(pool)}

    def save(self, folder: Path) -> None:
        self._model.save(folder)

    def load(self, folder: Path) -> None:
        self._model = self._new()
        self._model.load(folder)


def _grams(text: str) -> list[str]:
    """Words and pairs of neighbouring words."""
    found = words(text)
    return [*found, *(" ".join(pair) for pair in pairwise(found))]
