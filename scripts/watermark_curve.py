"""Prints the table in docs/watermarks.md: detection rate of the text watermark by strength and sample length.

python scripts/watermark_curve.py        # about five minutes on two cores
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from autophagy.common.core.pool import Pool
from autophagy.common.training.trainer import Training
from autophagy.text.data import Bible
from autophagy.text.lm import CausalLM
from autophagy.text.watermark import GreenList, Watermark

ROWS, CONTEXT = 400, 128
DELTAS = (0.5, 1.0, 2.0, 3.0, 4.0)
LENGTHS = (32, 64, 128)
"""Sample lengths in tokens."""
FALSE_ALARMS = 0.01


def trained_model(base: Pool) -> CausalLM:
    model = CausalLM(training=Training(steps=600, batch=16, learning_rate=2e-3), context=CONTEXT, vocabulary=2048)
    with tempfile.TemporaryDirectory() as scratch:
        model.fit(base, seed=0, scratch=Path(scratch))
    return model


def z_scores(model: CausalLM, watermark: Watermark, pool: Pool, length: int) -> np.ndarray:
    """Compute detector scores of the first `length` tokens of each row. Retokenizing may cost a row two tokens."""
    rows = [row[:length] for row in model.network.encode(pool.list("text")) if len(row) >= length - 2]
    return np.array([watermark.z(row) for row in rows])


def table_row(model: CausalLM, splits: Mapping[str, Pool], delta: float) -> str:
    """Compute a row of the table: sample with a watermark of strength `delta` and detect it. Changes the sampling settings of the model."""
    settings = GreenList(delta=delta)
    model.sampling = replace(model.sampling, watermark=settings)
    generated = model.sample(ROWS, seed=1)
    watermark = Watermark(settings, model.network.vocabulary)
    nats_per_token = model.score(generated).sum() / model.tokens(generated).sum()
    cells = []
    for length in LENGTHS:
        heldout, control, marked = (z_scores(model, watermark, pool, length) for pool in (splits["heldout"], splits["control"], generated))
        threshold = np.quantile(heldout, 1 - FALSE_ALARMS, method="higher")
        cells.append(f"{(marked > threshold).mean():.1%} ({(control > threshold).mean():.1%}, n = {len(marked)})")
    return f"| {delta:g} | {nats_per_token:.2f} | " + " | ".join(cells) + " |"


def main() -> None:
    splits = Bible(words=110).load(eval_size=ROWS)
    model = trained_model(splits["base"])
    print("| delta | nats per token under the model | " + " | ".join(f"{length} tokens" for length in LENGTHS) + " |")
    print("|" + "---|" * (2 + len(LENGTHS)))
    for delta in DELTAS:
        print(table_row(model, splits, delta), flush=True)


if __name__ == "__main__":
    main()
