"""Interpolated Kneser-Ney smoothing over integer tokens: counting, probabilities and exact draws, vectorised with numpy.

It is implemented here because it has to be exact, seeded and fast. Libraries with Kneser-Ney either cannot sample or need about a
second per sentence.

An n-gram is one integer, its *code*: its tokens are the digits in base `vocabulary + 1`. The digit `vocabulary` stands for the
positions before the start of a row. The code of the last `order - 1` tokens is the *state* that the next token depends on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

DISCOUNT_BOUNDS = (0.1, 0.9)
"""A discount is clipped to this range. Collapsed text may have no n-gram that occurs once or twice to estimate it from, and unseen
n-grams need a probability above 0."""


class NGramTable:
    """The n-grams of one length, sorted by code, with the sums that interpolation needs for every context."""

    def __init__(self, keys: np.ndarray, counts: np.ndarray, base: int):
        """keys int64 [n-grams], sorted; counts int64 [n-grams]."""
        self.keys, self.counts, self.base = keys, counts.astype(np.float64), base
        once, twice = (counts == 1).sum(), (counts == 2).sum()
        self.discount = float(np.clip(once / max(1, once + 2 * twice), *DISCOUNT_BOUNDS))  # Ney et al. 1994, eq. 16
        self.contexts, self.first = np.unique(keys // base, return_index=True)
        self.after = np.append(self.first[1:], len(keys))
        """The n-grams of context c are keys[first[c] : after[c]]."""
        self.cumulative = np.concatenate([[0.0], np.cumsum(self.counts - self.discount)])
        """Sum of the discounted counts before each n-gram."""
        self.total = np.add.reduceat(self.counts, self.first)
        self.backoff = self.discount * (self.after - self.first) / self.total
        """Probability, for every context, that the next shorter context decides."""

    def find(self, contexts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the index of each context, and whether the table has that context (if not, the index is meaningless)."""
        index = np.minimum(np.searchsorted(self.contexts, contexts), len(self.contexts) - 1)
        return index, self.contexts[index] == contexts


class KneserNey:
    """An n-gram model, interpolated down to single tokens and to the uniform distribution (Chen & Goodman 1999, sec. 3)."""

    def __init__(self, tables: Sequence[tuple[np.ndarray, np.ndarray]], *, vocabulary: int):
        """tables: codes and counts of the n-grams of length 1, 2, ..., order."""
        self.order, self.vocabulary, self.base = len(tables), vocabulary, vocabulary + 1
        self.tables = [NGramTable(keys, counts, self.base) for keys, counts in tables]

    @classmethod
    def count(cls, sequences: Sequence[Sequence[int]], *, order: int, vocabulary: int) -> KneserNey:
        """Count the n-grams of rows of tokens and return the model.

        Counts of the longest n-grams are their occurrences. Counts of shorter ones are the number of distinct tokens that precede them
        (Kneser & Ney 1995).
        """
        grams = np.concatenate([encode_ngrams(sequence, order=order, vocabulary=vocabulary) for sequence in sequences])
        tables = [np.unique(grams, return_counts=True)]
        for length in range(order - 1, 0, -1):
            longer, _ = tables[-1]
            tables.append(np.unique(longer % (vocabulary + 1) ** length, return_counts=True))
        return cls(tables[::-1], vocabulary=vocabulary)

    def codes(self, tokens: Sequence[int]) -> np.ndarray:
        """Return the code of the n-gram that ends with each token of a row, int64 [tokens]."""
        return encode_ngrams(tokens, order=self.order, vocabulary=self.vocabulary)

    def state_after(self, tokens: Sequence[int]) -> int:
        """Return the state after the tokens of a row."""
        return int(encode_ngrams([0], before=tokens, order=self.order, vocabulary=self.vocabulary)[0] // self.base)

    def next_states(self, states: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Return the state after one more token, for each row."""
        return (states * self.base + tokens) % self.base ** (self.order - 1)

    def distributions(self, states: np.ndarray) -> np.ndarray:
        """Return the distribution of the token after each state, float64 [states, vocabulary]."""
        distinct, inverse = np.unique(states, return_inverse=True)
        probabilities = np.full((len(distinct), self.vocabulary), 1 / self.vocabulary)
        for length, table in enumerate(self.tables, start=1):
            index, known = table.find(distinct % self.base ** (length - 1))
            probabilities[known] *= table.backoff[index[known], None]
            for row in np.flatnonzero(known):
                own = slice(table.first[index[row]], table.after[index[row]])
                probabilities[row, table.keys[own] % self.base] += (table.counts[own] - table.discount) / table.total[index[row]]
        return probabilities[inverse]

    def probabilities(self, grams: np.ndarray) -> np.ndarray:
        """Return the probability of the last token of each n-gram given the tokens before it, float64 [n-grams]."""
        probabilities = np.full(len(grams), 1 / self.vocabulary)
        for length, table in enumerate(self.tables, start=1):
            key = grams % self.base**length
            index, known = table.find(key // self.base)
            at = np.minimum(np.searchsorted(table.keys, key), len(table.keys) - 1)
            own = np.where(table.keys[at] == key, table.counts[at] - table.discount, 0.0) / table.total[index]
            probabilities = np.where(known, own + table.backoff[index] * probabilities, probabilities)
        return probabilities

    def draw(self, states: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        """Draw one token after each state, int64 [states]. uniforms [states], in [0, 1).

        Walks from the longest context to the shortest. In each, u either selects one of the context's own n-grams or falls into the
        back-off mass; then it is rescaled to [0, 1) and the next shorter context decides.
        """
        u, tokens = uniforms.copy(), np.full(len(uniforms), -1, dtype=np.int64)
        for length in range(self.order, 0, -1):
            table = self.tables[length - 1]
            index, known = table.find(states % self.base ** (length - 1))
            own = 1 - table.backoff[index]
            hit = (tokens < 0) & known & (u < own)
            target = table.cumulative[table.first[index]] + u * table.total[index]
            at = np.clip(np.searchsorted(table.cumulative, target, side="right") - 1, table.first[index], table.after[index] - 1)
            tokens = np.where(hit, table.keys[at] % self.base, tokens)
            u = np.where((tokens < 0) & known, (u - own) / table.backoff[index], u)
        return np.where(tokens < 0, np.minimum((u * self.vocabulary).astype(np.int64), self.vocabulary - 1), tokens)


def encode_ngrams(tokens: Sequence[int], *, order: int, vocabulary: int, before: Sequence[int] = ()) -> np.ndarray:
    """Return the code of the n-gram that ends with each token, int64 [tokens]. `before`: tokens of the row that precede `tokens`."""
    padded = np.array([*[vocabulary] * (order - 1), *before, *tokens], dtype=np.int64)
    codes = np.zeros(len(tokens), dtype=np.int64)
    for place in range(order):
        start = len(padded) - len(tokens) - order + 1 + place
        codes = codes * (vocabulary + 1) + padded[start : start + len(tokens)]
    return codes
