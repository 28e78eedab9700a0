"""Feature models for text that are trained here: latent semantic analysis and a small language model. Encoders are in `encoder.py`."""

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

from ..common.components.fitted import Fitted
from ..common.core.errors import UserError
from ..common.core.pool import Pool
from ..common.core.random_streams import derive
from ..common.training.settings import Training
from .lm import CausalLM
from .words import words

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer


@dataclass
class LSA:
    """Latent semantic analysis (Deerwester et al. 1990): tf-idf weights of words and word pairs, projected onto `features` directions.

    Vocabulary, weights and directions are learned from the real training rows, on which every direction has unit variance. It is fast;
    it sees the topic of a text but little of its grammar. Choose by the chain: `lsa` follows the slow drift of a fine-tuned language
    model better than `lm-embedding`, which follows an n-gram model better.
    """

    features: Annotated[int, Field(ge=2)] = 64
    version: ClassVar[int] = 1
    _vectorizer = Fitted["TfidfVectorizer"]()
    _directions = Fitted[np.ndarray]()
    """float32 [features, n-grams]."""

    def fit(self, pool: Pool, *, seed: int, scratch: Path) -> None:
        from sklearn.decomposition import TruncatedSVD

        self._vectorizer = _new_vectorizer(min_rows=2)  # an n-gram in a single row does not relate rows to each other
        where = f"features: 'lsa' cannot distinguish these {len(pool)} rows"
        try:
            weights = self._vectorizer.fit_transform(pool.list("text"))
            svd = TruncatedSVD(min(self.features, *(side - 1 for side in weights.shape)), random_state=derive(seed, "lsa") % 2**32)
            with np.errstate(divide="ignore", invalid="ignore"):  # the explained variance of equal rows is 0 / 0; it is not used
                directions = svd.fit(weights).components_
        except ValueError as error:  # no word occurs in two rows, or only one word does
            raise UserError(f"{where}: {error}") from error
        spread = (weights @ directions.T).std(axis=0)
        if not spread.all():
            raise UserError(f"{where}: all have the same value in one of the directions. Reduce features.features or use more varied rows.")
        self._directions = np.ascontiguousarray(directions / spread[:, None], dtype=np.float32)

    def __call__(self, pool: Pool) -> Mapping[str, np.ndarray]:
        """Return `features`, float32 [n, d]. A row without a known word is the zero vector."""
        return {"features": (self._vectorizer.transform(pool.list("text")) @ self._directions.T).astype(np.float32)}

    def save(self, folder: Path) -> None:
        columns = {gram: int(column) for gram, column in sorted(self._vectorizer.vocabulary_.items())}
        (folder / "vocabulary.json").write_text(json.dumps(columns, ensure_ascii=False), encoding="utf-8")
        save_file({"directions": self._directions, "weights": self._vectorizer.idf_}, folder / "lsa.safetensors")

    def load(self, folder: Path) -> None:
        arrays = load_file(folder / "lsa.safetensors")
        columns = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        self._vectorizer = _new_vectorizer(min_rows=1, vocabulary=columns)
        self._vectorizer.idf_, self._directions = arrays["weights"], arrays["directions"]


def _new_vectorizer(*, min_rows: int, vocabulary: Mapping[str, int] | None = None) -> TfidfVectorizer:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer=words_and_pairs, min_df=min_rows, sublinear_tf=True, vocabulary=vocabulary)


def words_and_pairs(text: str) -> list[str]:
    """Return the words of a text and its pairs of neighbouring words."""
    single = words(text)
    return [*single, *(" ".join(pair) for pair in pairwise(single))]


@dataclass
class LMEmbedding:
    """Mean of the last hidden states of a small language model that is trained once on real rows and never on generated ones.

    It plays the role that `classifier` plays for images: a feature model that is trained in half a minute and needs no download.
    """

    context: Annotated[int, Field(ge=2)] = 64
    """Tokens of a row that are read."""
    training: Training = field(default_factory=lambda: Training(steps=150, batch=32, learning_rate=3e-3))
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        self._language_model = self._new_language_model()

    def _new_language_model(self) -> CausalLM:
        return CausalLM(training=self.training, context=self.context, vocabulary=2048, prompt_tokens=1)

    def fit(self, pool: Pool, *, seed: int, scratch: Path) -> None:
        self._language_model = self._new_language_model()
        self._language_model.fit(pool, seed=seed, scratch=scratch)

    def __call__(self, pool: Pool) -> Mapping[str, np.ndarray]:
        """Return `features`, float32 [n, 128]."""
        return {"features": self._language_model.embed(pool)}

    def save(self, folder: Path) -> None:
        self._language_model.save(folder)

    def load(self, folder: Path) -> None:
        self._language_model.load(folder)
