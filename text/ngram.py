"""`ngram`: an interpolated Kneser-Ney model over byte-level BPE tokens; no gradients, a fit in milliseconds.

Written here, as every sampler that must be exact and seeded: libraries that know Kneser-Ney either do not sample or take a
second for a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from ..common.components.generator import FitResult
from ..common.core.pool import Pool
from ..common.core.random_streams import stream
from .sampling import Sampling, Watermark, distribution, refuse_broken, watermark_of
from .tokenizer import END, train_bpe, disable_cache

CHUNK = 256
"""Rows whose whole distributions are held at once when sampling is biased."""
DISCOUNTS = (0.1, 0.9)
"""Bounds of a discount. Collapsed text has no n-gram that occurs once or twice to estimate it from, and no unseen one may cost
infinitely much."""


class Order:
    """The n-grams of one length, sorted by code, with what interpolation needs of every context."""

    def __init__(self, keys: np.ndarray, counts: np.ndarray, base: int):
        self.keys, self.counts, self.base = keys, counts.astype(np.float64), base
        once, twice = (counts == 1).sum(), (counts == 2).sum()
        self.discount = float(np.clip(once / max(1, once + 2 * twice), *DISCOUNTS))  # Ney et al. 1994, eq. 16
        self.contexts, self.first = np.unique(keys // base, return_index=True)
        self.after = np.append(self.first[1:], len(keys))
        self.before = np.concatenate([[0.0], np.cumsum(self.counts - self.discount)])
        """Discounted counts up to each n-gram."""
        self.total = np.add.reduceat(self.counts, self.first)
        self.backoff = self.discount * (self.after - self.first) / self.total
        """The chance, in every context, that a shorter context decides."""

    def find(self, contexts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The place of each context, and whether it is there at all."""
        place = np.minimum(np.searchsorted(self.contexts, contexts), len(self.contexts) - 1)
        return place, self.contexts[place] == contexts


@dataclass
class NGram:
    """A Kneser-Ney n-gram model, interpolated down to single tokens and to the uniform distribution (Chen & Goodman 1999, sec. 3).

    Counted anew from every pool, so there is nothing that `init: previous` could start from; a fit counts as one step over all
    tokens. Rows, prompts and the tokenizer are as for `causal-lm`: the tokenizer is trained on the first pool it sees and kept.
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
            raise ValueError(f"prompt_tokens: {self.prompt_tokens} leaves nothing to write within context = {self.context}")
        self._tokenizer: Tokenizer | None = None
        self._orders: list[Order] = []

    # ---- learning -------------------------------------------------------------------------------------------------

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        texts = pool.list("text")
        if self._tokenizer is None:
            self._tokenizer = train_bpe(texts, self.vocabulary)
        sequences = [[*tokens, self._end][: self.context] for tokens in self._tokens(texts)]
        grams = np.concatenate([self._codes(sequence) for sequence in sequences])
        keys, counts = np.unique(grams, return_counts=True)
        tables = [(keys, counts)]
        for length in range(self.order - 1, 0, -1):  # in how many contexts, not how often (Kneser & Ney 1995)
            keys, counts = np.unique(tables[-1][0] % self._base**length, return_counts=True)
            tables.append((keys, counts))
        self._orders = [Order(keys, counts, self._base) for keys, counts in reversed(tables)]
        cut = np.mean([sequence[-1] != self._end for sequence in sequences])
        lengths = np.array([len(sequence) for sequence in sequences], dtype=np.float64)
        stats = {"rows_cut_at_context": float(cut), "types": float(len(tables[0][0]))}
        return FitResult.closed_form("tokens", len(pool), units_per_row=lengths, stats=stats)

    @property
    def _end(self) -> int:
        return self._tokenizer.token_to_id(END)

    @property
    def _size(self) -> int:
        return self._tokenizer.get_vocab_size()

    @property
    def _base(self) -> int:
        """Tokens and, as the last, the one that stands before every row."""
        return self._size + 1

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoded.ids for encoded in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def _codes(self, tokens: Sequence[int], *, before: Sequence[int] = ()) -> np.ndarray:
        """For every token the code of the n-gram that ends with it: its tokens as digits in base `_base`; int64 [tokens]."""
        padded = np.array([*[self._size] * (self.order - 1), *before, *tokens], dtype=np.int64)
        code = np.zeros(len(tokens), dtype=np.int64)
        for place in range(self.order):
            start = len(padded) - len(tokens) - self.order + 1 + place
            code = code * self._base + padded[start : start + len(tokens)]
        return code

    # ---- sampling -------------------------------------------------------------------------------------------------

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        """n rows of text; `given` rows (at least n) are the prompts. One uniform number a token, inverted exactly."""
        prompts: list[list[int]] = [[]] * n
        if given is not None:
            if len(given) < n:
                raise ValueError(f"{n} rows are to be continued, {len(given)} were given")
            prompts = [row[: self.prompt_tokens] for row in self._tokens(given.slice(0, n).list("text"))]
        texts: list[str] = []
        for start in range(0, n, CHUNK):
            rows = range(start, min(n, start + CHUNK))
            uniforms = np.stack([stream(seed, "row", row).random(self.context) for row in rows])
            texts += self._tokenizer.decode_batch(self._continue([prompts[row] for row in rows], uniforms))
        return Pool.of(text=texts)

    def _continue(self, prompts: list[list[int]], uniforms: np.ndarray) -> list[list[int]]:
        """New tokens after prompts, up to `context` with them, without the end token; never empty. uniforms [rows, context]."""
        watermark = self._watermark()
        room = self.context - np.array([len(prompt) for prompt in prompts])
        state = np.array([self._codes([0], before=prompt)[0] // self._base for prompt in prompts])  # the last order - 1 tokens
        previous = np.array([prompt[-1] if prompt else self._end for prompt in prompts])
        generated = np.full(uniforms.shape, self._end)
        alive = np.ones(len(prompts), dtype=bool)
        for step in range(room.max()):
            alive &= step < room
            if not alive.any():
                break
            who = np.flatnonzero(alive)
            if step == 0 or not self.sampling.unbiased:
                tokens = self._draw_biased(state[who], uniforms[who, step], previous[who], watermark, may_end=step > 0)
            else:
                tokens = self._draw(state[who], uniforms[who, step])
            generated[who, step] = previous[who] = tokens
            state[who] = self._shift(state[who], tokens)
            alive[who[tokens == self._end]] = False
        rows = generated.tolist()
        return [row[: row.index(self._end)] if self._end in row else row for row in rows]

    def _shift(self, state: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        return (state * self._base + tokens) % self._base ** (self.order - 1)

    def _draw(self, state: np.ndarray, u: np.ndarray) -> np.ndarray:
        """One token after each state. Walks down the contexts: in each, u falls among its own n-grams or into what it leaves over."""
        u, tokens = u.copy(), np.full(len(u), -1, dtype=np.int64)
        for length in range(self.order, 0, -1):
            table = self._orders[length - 1]
            place, known = table.find(state % self._base ** (length - 1))
            own = 1 - table.backoff[place]
            hit = (tokens < 0) & known & (u < own)
            target = table.before[table.first[place]] + u * table.total[place]
            at = np.clip(np.searchsorted(table.before, target, side="right") - 1, table.first[place], table.after[place] - 1)
            tokens = np.where(hit, table.keys[at] % self._base, tokens)
            u = np.where((tokens < 0) & known, (u - own) / table.backoff[place], u)
        return np.where(tokens < 0, np.minimum((u * self._size).astype(np.int64), self._size - 1), tokens)

    def _draw_biased(
        self, state: np.ndarray, u: np.ndarray, previous: np.ndarray, watermark: Watermark | None, *, may_end: bool
    ) -> np.ndarray:
        """One token after each state, as `sampling` says, from the whole distribution."""
        import torch

        chances = self.chances(state)
        if not may_end:
            chances[:, self._end] = 0.0  # an empty row could not be learned from
        if not self.sampling.unbiased:
            with np.errstate(divide="ignore"):
                chances = distribution(torch.from_numpy(np.log(chances)), self.sampling).numpy()
        if watermark is not None:
            chances = chances * watermark.boost(previous)
        sums = chances.cumsum(1)
        refuse_broken(sums[:, -1])
        return np.minimum((sums <= u[:, None] * sums[:, -1:]).sum(1), self._size - 1)

    def chances(self, state: np.ndarray) -> np.ndarray:
        """The distribution after each state, float64 [states, vocabulary]."""
        states, which = np.unique(state, return_inverse=True)
        found = np.full((len(states), self._size), 1 / self._size)
        for length, table in enumerate(self._orders, start=1):
            place, known = table.find(states % self._base ** (length - 1))
            found[known] *= table.backoff[place[known], None]
            for row in np.flatnonzero(known):
                own = slice(table.first[place[row]], table.after[place[row]])
                found[row, table.keys[own] % self._base] += (table.counts[own] - table.discount) / table.total[place[row]]
        return found[which]

    def _watermark(self) -> Watermark | None:
        return watermark_of(self.sampling.watermark, self._size)

    # ---- scoring --------------------------------------------------------------------------------------------------

    def score(self, pool: Pool) -> np.ndarray:
        """Nats of each row's tokens from the start of the row on, float64 [n]."""
        rows = self._tokens(pool.list("text"))
        chances = self._chance_of(np.concatenate([np.zeros(0, dtype=np.int64), *map(self._codes, rows)]))
        return -np.bincount(np.repeat(np.arange(len(rows)), [len(row) for row in rows]), weights=np.log(chances), minlength=len(rows))

    def _chance_of(self, grams: np.ndarray) -> np.ndarray:
        """The chance of the last token of each n-gram after those before it, float64."""
        found = np.full(len(grams), 1 / self._size)
        for length, table in enumerate(self._orders, start=1):
            key = grams % self._base**length
            place, known = table.find(key // self._base)
            at = np.minimum(np.searchsorted(table.keys, key), len(table.keys) - 1)
            own = np.where(table.keys[at] == key, table.counts[at] - table.discount, 0.0) / table.total[place]
            found = np.where(known, own + table.backoff[place] * found, found)
        return found

    def tokens(self, pool: Pool) -> np.ndarray:
        """Tokens that `score` counts in each row, int64 [n]."""
        return np.array([len(row) for row in self._tokens(pool.list("text"))], dtype=np.int64)

    def edit(self, pool: Pool, *, above: float, seed: int) -> tuple[Pool, float]:
        """The rows with every token likelier than `above` drawn anew in its place, and the share of tokens drawn."""
        texts, drawn, total = [], 0, 0
        for row, tokens in enumerate(self._tokens(pool.list("text"))):
            grams = self._codes(tokens)
            again = self._draw(grams // self._base, stream(seed, "row", row).random(len(tokens)))
            which = (self._chance_of(grams) > above) & (again != self._end)
            texts.append(np.where(which, again, np.array(tokens, dtype=np.int64)).tolist())
            drawn, total = drawn + int(which.sum()), total + len(tokens)
        return Pool.of(text=self._tokenizer.decode_batch(texts)), drawn / max(1, total)

    def detect(self, pool: Pool) -> np.ndarray:
        """z of the green-list watermark of `sampling` in each row, float64 [n]."""
        watermark = self._watermark()
        return np.array([watermark.z(row) for row in self._tokens(pool.list("text"))], dtype=np.float64)

    # ---- keeping --------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        arrays: dict[str, np.ndarray] = {}
        for length, table in enumerate(self._orders, start=1):
            arrays |= {f"keys-{length}": table.keys, f"counts-{length}": table.counts.astype(np.int64)}
        save_file(arrays, folder / "ngrams.safetensors")
        self._tokenizer.save(str(folder / "tokenizer.json"))

    def load(self, folder: Path) -> None:
        self._tokenizer = disable_cache(Tokenizer.from_file(str(folder / "tokenizer.json")))
        arrays: Mapping[str, np.ndarray] = load_file(folder / "ngrams.safetensors")
        self._orders = [Order(arrays[f"keys-{n}"], arrays[f"counts-{n}"], self._base) for n in range(1, self.order + 1)]
