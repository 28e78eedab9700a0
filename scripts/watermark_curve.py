"""How often the green-list watermark of the embedded language model is found, by its strength and the length of a sample.

python scripts/watermark_curve.py        # about five minutes on two cores; prints the table of docs/watermarks.md
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from autophagy.common.core.pool import Pool
from autophagy.common.training.trainer import Training
from autophagy.text.data import Bible
from autophagy.text.lm import CausalLM
from autophagy.text.watermark import GreenList, watermark_of

ROWS, CONTEXT, LENGTHS = 400, 128, (32, 64, 128)

splits = Bible(words=110).load(eval_size=ROWS)
model = CausalLM(training=Training(steps=600, batch=16, learning_rate=2e-3), context=CONTEXT, vocabulary=2048)
with tempfile.TemporaryDirectory() as scratch:
    model.fit(splits["base"], seed=0, scratch=Path(scratch))
plain = model.sampling


def z_of(pool: Pool, length: int) -> np.ndarray:
    """z of the first `length` tokens of the rows that have so many."""
    rows = [row[:length] for row in model.network.encode(pool.list("text")) if len(row) >= length - 2]
    watermark = watermark_of(model.sampling.watermark, model.network.vocabulary)
    return np.array([watermark.z(row) for row in rows])


print("| delta | nats per token under the model | " + " | ".join(f"{length} tokens" for length in LENGTHS) + " |")
print("|" + "---|" * (2 + len(LENGTHS)))
for delta in (0.5, 1.0, 2.0, 3.0, 4.0):
    model.sampling = replace(plain, watermark=GreenList(delta=delta))
    generated = model.sample(ROWS, seed=1)
    cells = []
    for length in LENGTHS:
        real, other, own = (z_of(pool, length) for pool in (splits["heldout"], splits["control"], generated))
        threshold = np.quantile(real, 0.99, method="higher")
        cells.append(f"{(own > threshold).mean():.1%} ({(other > threshold).mean():.1%}, n = {len(own)})")
    nll = model.score(generated).sum() / model.tokens(generated).sum()
    print(f"| {delta:g} | {nll:.2f} | " + " | ".join(cells) + " |", flush=True)
