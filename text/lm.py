"""`causal-lm`: a transformers causal language model, pretrained or built from a config, fine-tuned in every generation.

This module holds the settings and the methods of the Generator contract. The work is done in `lm_network.py` (weights and tokenizer),
`lm_decoding.py` (sampling, editing) and `lm_scoring.py` (likelihoods, hidden states). These import torch and are imported when used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from ..common.components.generator import FitResult
from ..common.core.pool import Pool
from ..common.core.random_streams import derive
from ..common.training.pretrained import check_architecture, file_digests, pretrained_folder
from ..common.training.settings import Training
from .sampling import Sampling
from .watermark import watermark_of

if TYPE_CHECKING:
    from .lm_network import Network

DEFAULT_VOCABULARY = 2048


@dataclass
class CausalLM:
    """A causal language model over byte-level BPE tokens, trained by gradient descent.

    `pretrained` is a hub id or a folder in Hugging Face format (safetensors only, no remote code). Without it, the model is built from
    `architecture` with new weights, and a tokenizer is trained on the first pool: the base split if there is a `base:` section. All
    later generations keep that tokenizer.

    A row is one sequence: start token, the tokens of its text, end token. It is truncated to `context` tokens. With prompts, the model
    continues the first `prompt_tokens` tokens of a real row up to `context` tokens; the generated row is the continuation without the
    prompt.

    Use `ends: false` together with prompts. If ends are learned from continuations, which are shorter than `context`, continuations get
    shorter with every generation.
    """

    training: Training
    pretrained: str | None = None
    revision: str | None = None
    architecture: dict[str, Any] | None = None
    """Arguments of a transformers config with its `model_type`. Default: a Llama of 0.7 million weights."""
    vocabulary: Annotated[int, Field(ge=257)] | None = None
    """Entries of the tokenizer that is trained. Default: 2,048."""
    context: Annotated[int, Field(ge=2)] = 64
    prompt_tokens: Annotated[int, Field(ge=1)] = 16
    ends: bool = True
    """True: rows are whole texts, and the end token is learned and drawn. False: rows are passages of longer text, without an end token;
    every generated row is as long as `context` allows."""
    sampling: Sampling = field(default_factory=Sampling)
    version: ClassVar[int] = 4
    modality: ClassVar[str] = "text"
    columns: ClassVar[tuple[str, ...]] = ("text",)
    continues: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.prompt_tokens >= self.context:
            raise ValueError(
                f"prompt_tokens: {self.prompt_tokens} leaves no room for a continuation within context = {self.context}; "
                "prompt_tokens must be smaller than context"
            )
        if self.pretrained and (self.architecture or self.vocabulary):
            raise ValueError("pretrained: a pretrained model has its own architecture and vocabulary; remove those settings")
        if self.architecture is not None:
            check_architecture(self.architecture)
        self._network: Network | None = None

    @property
    def network(self) -> Network:
        """The weights and the tokenizer. Set by `fit` and `load`."""
        if self._network is None:
            raise ValueError("this model has no weights yet; call `fit` or `load` first")
        return self._network

    def inputs(self) -> Mapping[str, str]:
        """Return the sha256 of the files of the pretrained model. They are part of every cache key: a name does not fix the content."""
        return file_digests(pretrained_folder(self.pretrained, self.revision)) if self.pretrained else {}

    # ---- training -------------------------------------------------------------------------------------------------

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        from ..common.core.device import device, seeded
        from ..common.training.trainer import train
        from .lm_training import NextTokenLoss

        texts = pool.list("text")
        with seeded(derive(seed, "weights")):
            network = self._initial_network(texts, fresh=fresh)
        network.move_to(device())
        self._network = network
        sequences = network.training_sequences(texts, context=self.context, ends=self.ends)
        loss = NextTokenLoss(network, sequences)
        result = train(network.weights, loss, rows=len(pool), training=self.training, seed=derive(seed, "train"), scratch=scratch)
        truncated = np.mean([len(sequence) > self.context and sequence[-1] != network.end for sequence in sequences])
        stats = {"loss": result.loss, "rows_cut_at_context": float(truncated)}
        tokens_per_row = np.array([len(sequence) - 1 for sequence in sequences])
        return FitResult("tokens", result.visit_counts, tokens_per_row, result.steps, stats)

    def _initial_network(self, texts: list[str], *, fresh: bool) -> Network:
        """Return the network that a fit starts from: the current one, the pretrained one, or a new one."""
        from .lm_network import load_network, new_network

        network = self._network
        if network is None and self.pretrained:
            network = load_network(pretrained_folder(self.pretrained, self.revision), context=self.context)
        if network is None:
            vocabulary = self.vocabulary or DEFAULT_VOCABULARY
            return new_network(texts, architecture=self.architecture, vocabulary=vocabulary, context=self.context)
        return network.with_new_weights() if fresh else network

    def save(self, folder: Path) -> None:
        """Write a folder in Hugging Face format, which transformers can load."""
        self.network.save(folder)

    def load(self, folder: Path) -> None:
        from .lm_network import load_network

        self._network = load_network(folder, context=self.context)

    # ---- sampling -------------------------------------------------------------------------------------------------

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        """n rows of text. `given` (at least n rows) holds the prompts. Draws one uniform number per token and inverts the CDF."""
        from .lm_decoding import sample_texts

        network = self.network
        prompts = [[network.start]] * n
        if given is not None:
            if len(given) < n:
                raise ValueError(f"{n} rows to generate, but only {len(given)} prompts; each row needs a prompt")
            prompts = [[network.start, *row[: self.prompt_tokens]] for row in network.encode(given.slice(0, n).list("text"))]
        texts = sample_texts(
            network,
            prompts,
            context=self.context,
            ends=self.ends,
            sampling=self.sampling,
            precision=self.training.precision,
            seed=seed,
        )
        return Pool.of(text=texts)

    def edit(self, pool: Pool, *, above: float, seed: int) -> tuple[Pool, float]:
        """The rows with every token of probability above `above` drawn again, and the share of tokens drawn (Zhu et al. 2024, eq. 4)."""
        from .lm_decoding import edit_rows

        rows = self.network.encode(pool.list("text"))
        edited, n_drawn = edit_rows(self.network, rows, context=self.context, threshold=above, precision=self.training.precision, seed=seed)
        return Pool.of(text=[self.network.decode(row) for row in edited]), n_drawn / max(1, sum(map(len, rows)))

    # ---- scoring --------------------------------------------------------------------------------------------------

    def score(self, pool: Pool) -> np.ndarray:
        """Return the negative log-likelihood of each row in nats, float64 [n]. Longer rows are scored in windows of `context` tokens."""
        from .lm_scoring import nats_per_row

        return nats_per_row(self.network, self.network.encode(pool.list("text")), context=self.context, precision=self.training.precision)

    def tokens(self, pool: Pool) -> np.ndarray:
        """Return the number of tokens that `score` sums over in each row, int64 [n]."""
        return np.array([len(row) for row in self.network.encode(pool.list("text"))], dtype=np.int64)

    def embed(self, pool: Pool) -> np.ndarray:
        """Return the mean of the last hidden states over the first `context` tokens of each row, float32 [n, hidden]."""
        from .lm_scoring import mean_hidden_states

        return mean_hidden_states(
            self.network, self.network.encode(pool.list("text")), context=self.context, precision=self.training.precision
        )

    def detect(self, pool: Pool) -> np.ndarray:
        """Return the z-score of the watermark in `sampling` for each row, float64 [n]."""
        watermark = watermark_of(self.sampling.watermark, self.network.vocabulary)
        if watermark is None:
            raise ValueError("sampling.watermark is not set, so there is no watermark to detect")
        return watermark.z_scores(self.network.encode(pool.list("text")))
