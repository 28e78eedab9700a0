"""`encoder`: any transformers text encoder as a feature model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..common.components.fitted import Fitted
from ..common.core.pool import Pool
from ..common.training.pretrained import PretrainedEncoder, check_positions, load_without_head

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase  # noqa: F401 - named in Fitted["..."], where ruff does not look

BATCH = 64
"""Rows encoded at once."""


@dataclass
class TextEncoder(PretrainedEncoder):
    """Mean of the last hidden states of a transformers text encoder.

    `pretrained` is a hub id or a folder (safetensors only, no remote code). With sentence-transformers/all-mpnet-base-v2 the Frechet
    distance in this space is the one that papers on text generation report.
    """

    tokens: Annotated[int, Field(ge=2)] = 128
    """Longest input. Longer rows are truncated."""
    version: ClassVar[int] = 1
    _model = Fitted["PreTrainedModel"]()
    _tokenizer = Fitted["PreTrainedTokenizerBase"]()

    def _load_model(self, folder: Path) -> None:
        from .tokenizer import load_tokenizer

        self._tokenizer = load_tokenizer(folder)
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._model, _ = load_without_head(folder)  # missing weights are accepted: they are those of a pooler that is not used
        check_positions(self._model, tokens=self.tokens, setting="features.tokens", folder=folder)

    def __call__(self, pool: Pool) -> Mapping[str, np.ndarray]:
        """Return `features`, float32 [n, hidden]. Padding tokens are left out of the mean."""
        import torch

        from ..common.core.device import compute_in

        texts, features = pool.list("text"), []
        with torch.inference_mode(), compute_in("float32"):
            for start in range(0, len(texts), BATCH):
                batch = self._tokenizer(
                    texts[start : start + BATCH], padding=True, truncation=True, max_length=self.tokens, return_tensors="pt"
                ).to(self._model.device)
                states = self._model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
                mask = batch["attention_mask"][..., None]  # [rows, tokens, 1]
                features.append((states * mask).sum(1) / mask.sum(1).clamp(min=1))
        return {"features": torch.cat(features).cpu().numpy()}
