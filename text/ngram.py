"""`ngram`: a Kneser-Ney model over byte-level BPE tokens. A fit takes milliseconds. The counts are in `kneser_ney.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file, save_file

from ..common.components.generator import FitResult
from ..common.core.pool import Pool
from ..common.core.random_streams import stream
from .kneser_ney import KneserNey
from .sampling import Sampling, check_totals, token_probabilities
from .tokenizer import END, read_bpe, train_bpe
from .watermark import Watermark, watermark_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BATCH = 256
"""Rows sampled at once. With biased sampling, the distributions of a whole batch are in memory."""


@dataclass
class NGram:
    """A Kneser-Ney n-gram model, interpolated down to single tokens and to the uniform distribution (Chen & Goodman 1999, sec. 3).

    Every fit counts its pool from scratch, so `init: previous` has no effect. A fit is reported as one step over all tokens. Rows,
    prompts and the tokenizer work as in `causal-lm`: the tokenizer is trained on the first pool and then kept.
    """

    order: Annotated[int, Field(ge=1, le=5)] = 3
    vocabulary: Annotated[int, Field(ge=257, le=6000)] = 2048
    context: Annotated[int, Field(ge=2)] = 64
    prompt_tokens: Annotated[int, Field(ge=1)] = 16
    sampling: Sampling = field(default_factory=Sampling)
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "text"
    columns: ClassVar[tuple[str, ...]] = ("text",)
    continues: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.prompt_tokens >= self.context:
            raise ValueError(
                f"prompt_tokens: {self.prompt_tokens} leaves no room for a continuation within context = {self.context}; "
                "prompt_tokens must be smaller than context"
            )
        self._tokenizer: Tokenizer | None = None
        self._counts: KneserNey | None = None

    @property
    def tokenizer(self) -> Tokenizer:
        """Set by `fit` and `load`."""
        if self._tokenizer is None:
            raise ValueError("this model has no tokenizer yet; call `fit` or `load` first")
        return self._tokenizer

    @property
    def counts(self) -> KneserNey:
        """Set by `fit` and `load`."""
        if self._counts is None:
            raise ValueError("this model has no counts yet; call `fit` or `load` first")
        return self._counts

    @property
    def end(self) -> int:
        """The end token."""
        end = self.tokenizer.token_to_id(END)
        assert end is not None, f"every tokenizer trained here has {END}"
        return end

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, without an end token."""
        return [encoded.ids for encoded in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    # ---- training -------------------------------------------------------------------------------------------------

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        texts = pool.list("text")
        if self._tokenizer is None:
            self._tokenizer = train_bpe(texts, self.vocabulary)
        end = self.end
        sequences = [[*tokens, end][: self.context] for tokens in self.encode(texts)]
        self._counts = KneserNey.count(sequences, order=self.order, vocabulary=self.tokenizer.get_vocab_size())
        truncated = np.mean([sequence[-1] != end for sequence in sequences])
        tokens_per_row = np.array([len(sequence) for sequence in sequences], dtype=np.float64)
        stats = {"rows_cut_at_context": float(truncated), "types": float(len(self._counts.tables[-1].keys))}
        return FitResult.closed_form("tokens", len(pool), units_per_row=tokens_per_row, stats=stats)

    def save(self, folder: Path) -> None:
        arrays: dict[str, np.ndarray] = {}
        for length, table in enumerate(self.counts.tables, start=1):
            arrays |= {f"keys-{length}": table.keys, f"counts-{length}": table.counts.astype(np.int64)}
        save_file(arrays, folder / "ngrams.safetensors")
        self.tokenizer.save(str(folder / "tokenizer.json"))

    def load(self, folder: Path) -> None:
        self._tokenizer = read_bpe(folder / "tokenizer.json")
        arrays: Mapping[str, np.ndarray] = load_file(folder / "ngrams.safetensors")
        tables = [(arrays[f"keys-{length}"], arrays[f"counts-{length}"]) for length in range(1, self.order + 1)]
        self._counts = KneserNey(tables, vocabulary=self._tokenizer.get_vocab_size())

    # ---- sampling -------------------------------------------------------------------------------------------------

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        """n rows of text. `given` (at least n rows) holds the prompts. Draws one uniform number per token and inverts the CDF."""
        prompts: list[list[int]] = [[]] * n
        if given is not None:
            if len(given) < n:
                raise ValueError(f"{n} rows to generate, but only {len(given)} prompts; each row needs a prompt")
            prompts = [row[: self.prompt_tokens] for row in self.encode(given.slice(0, n).list("text"))]
        texts: list[str] = []
        for start in range(0, n, BATCH):
            rows = range(start, min(n, start + BATCH))
            uniforms = np.stack([stream(seed, "row", row).random(self.context) for row in rows])
            texts += self.tokenizer.decode_batch(self.continue_prompts([prompts[row] for row in rows], uniforms))
        return Pool.of(text=texts)

    def continue_prompts(self, prompts: list[list[int]], uniforms: np.ndarray) -> list[list[int]]:
        """Draw tokens after each prompt, up to `context` tokens with the prompt. Returns them without the end token, at least one per row.

        uniforms [rows, context]: one number in [0, 1) per token.
        """
        counts, end = self.counts, self.end
        watermark = watermark_of(self.sampling.watermark, counts.vocabulary)
        room = self.context - np.array([len(prompt) for prompt in prompts])
        states = np.array([counts.state_after(prompt) for prompt in prompts])
        previous = np.array([prompt[-1] if prompt else end for prompt in prompts])
        generated = np.full(uniforms.shape, end)
        unfinished = np.ones(len(prompts), dtype=bool)
        for step in range(room.max()):
            unfinished &= step < room
            if not unfinished.any():
                break
            rows = np.flatnonzero(unfinished)
            if step == 0 or not self.sampling.unbiased:
                tokens = self._draw_biased(states[rows], uniforms[rows, step], previous[rows], watermark, may_end=step > 0)
            else:
                tokens = counts.draw(states[rows], uniforms[rows, step])
            generated[rows, step] = previous[rows] = tokens
            states[rows] = counts.next_states(states[rows], tokens)
            unfinished[rows[tokens == end]] = False
        return [row[: row.index(end)] if end in row else row for row in generated.tolist()]

    def _draw_biased(
        self, states: np.ndarray, uniforms: np.ndarray, previous: np.ndarray, watermark: Watermark | None, *, may_end: bool
    ) -> np.ndarray:
        """Draw one token after each state from the whole distribution with the settings in `sampling`. Returns int64 [states]."""
        import torch

        probabilities = self.counts.distributions(states)
        if not may_end:
            probabilities[:, self.end] = 0.0  # the next generation could not learn from an empty row
        if not self.sampling.unbiased:
            with np.errstate(divide="ignore"):
                probabilities = token_probabilities(torch.from_numpy(np.log(probabilities)), self.sampling).numpy()
        if watermark is not None:
            probabilities = probabilities * watermark.boost(previous.tolist())
        cumulative = probabilities.cumsum(1)
        check_totals(cumulative[:, -1])
        return np.minimum((cumulative <= uniforms[:, None] * cumulative[:, -1:]).sum(1), self.counts.vocabulary - 1)

    def edit(self, pool: Pool, *, above: float, seed: int) -> tuple[Pool, float]:
        """The rows with every token of probability above `above` drawn again, and the share of tokens drawn (Zhu et al. 2024, eq. 4)."""
        edited, n_drawn, n_tokens = [], 0, 0
        for row, tokens in enumerate(self.encode(pool.list("text"))):
            grams = self.counts.codes(tokens)
            drawn = self.counts.draw(grams // self.counts.base, stream(seed, "row", row).random(len(tokens)))
            likely = (self.counts.probabilities(grams) > above) & (drawn != self.end)
            edited.append(np.where(likely, drawn, np.array(tokens, dtype=np.int64)).tolist())
            n_drawn, n_tokens = n_drawn + int(likely.sum()), n_tokens + len(tokens)
        return Pool.of(text=self.tokenizer.decode_batch(edited)), n_drawn / max(1, n_tokens)

    # ---- scoring --------------------------------------------------------------------------------------------------

    def score(self, pool: Pool) -> np.ndarray:
        """Return the negative log-likelihood of each row in nats, float64 [n]."""
        rows = self.encode(pool.list("text"))
        probabilities = self.counts.probabilities(np.concatenate([np.zeros(0, dtype=np.int64), *map(self.counts.codes, rows)]))
        row_of_token = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        return -np.bincount(row_of_token, weights=np.log(probabilities), minlength=len(rows))

    def tokens(self, pool: Pool) -> np.ndarray:
        """Return the number of tokens that `score` sums over in each row, int64 [n]."""
        return np.array([len(row) for row in self.encode(pool.list("text"))], dtype=np.int64)

    def detect(self, pool: Pool) -> np.ndarray:
        """Return the z-score of the watermark in `sampling` for each row, float64 [n]."""
        watermark = watermark_of(self.sampling.watermark, self.counts.vocabulary)
        if watermark is None:
            raise ValueError("sampling.watermark is not set, so there is no watermark to detect")
        return watermark.z_scores(self.encode(pool.list("text")))
