"""Rows `lm-sampling`: texts sampled here and with `generate` of transformers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from .language import BYTES, GPT2, SMALL_LLAMA, TINY, Language, causal_lm, forward_operations, load, meta_model, write_files
from .row import Cost, Rival, Row, Task


def sample(language: Language, folder: Path) -> Task:
    model = causal_lm(language, steps=1)
    model.load(folder / "model")
    return Task(
        lambda: model.sample(language.batch, seed=0).list("text"),
        lambda texts: new_tokens(language, texts, model.network.tokenizer),
    )


def generate(language: Language, folder: Path, *, dtype: str = "float32", **options: Any) -> Task:
    import torch

    model, tokenizer, _ = load(folder)
    model.to(getattr(torch, dtype)).eval()
    return Task(
        lambda: generate_texts(language, model, tokenizer, **options),
        lambda texts: new_tokens(language, texts, tokenizer),
    )


def generate_texts(language: Language, model: Any, tokenizer: Any, **options: Any) -> list[str]:
    """Call `generate` of transformers. `top_k=0`: it samples from all tokens, as this package does, and not from the best 50."""
    import torch

    start = torch.full((language.batch, 1), tokenizer.bos_token_id, device=model.device)
    if not language.ends:
        model.generation_config.eos_token_id = None
    rows = model.generate(
        start, attention_mask=torch.ones_like(start), do_sample=True, top_k=0, max_new_tokens=language.context,
        pad_token_id=tokenizer.pad_token_id, **options,
    )  # fmt: skip
    return tokenizer.batch_decode(rows[:, 1:], skip_special_tokens=language.ends)


def new_tokens(language: Language, texts: list[str], tokenizer: Any) -> float:
    """Count the sampled tokens of texts: all rows are full without end tokens; else the tokens of the texts and an end token each."""
    if not language.ends:
        return len(texts) * language.context
    return sum(min(language.context, len(row) + 1) for row in tokenizer(texts, add_special_tokens=False)["input_ids"])


def sampling_cost(language: Language) -> Cost:
    """Count a forward pass per token. A step reads all weights once for the batch, and each row reads the keys and values so far."""
    model = meta_model(language)
    weights = sum(parameter.numel() for parameter in model.parameters())
    cached = 2 * model.config.num_hidden_layers * model.config.hidden_size * language.context / 2
    numbers = weights / language.batch + cached
    return Cost(forward_operations(language, model), numbers * BYTES[language.precision], language.precision)


def sampling_row(language: Language, case: str, *rivals: Rival, device: str = "cpu") -> Row:
    tiny = replace(TINY, ends=language.ends)
    return Row(
        "lm-sampling", case, "tokens/s", sample, language, tiny, rivals, write_files, cost=sampling_cost, device=device
    )  # fmt: skip


COMPILED = partial(generate, dtype="bfloat16", cache_implementation="static")
ROWS = (
    sampling_row(replace(SMALL_LLAMA, batch=128), "batch 128", Rival("generate", generate, 3)),
    sampling_row(replace(SMALL_LLAMA, batch=512), "batch 512", Rival("generate", generate, 4)),
    sampling_row(replace(SMALL_LLAMA, batch=128, ends=True, pretraining=60), "batch 128, end tokens", Rival("generate", generate, 3)),
    sampling_row(
        replace(GPT2, precision="bfloat16"),
        "bfloat16, batch 512",
        Rival("generate, bfloat16", partial(generate, dtype="bfloat16")),
        Rival("generate, bfloat16, static cache, compiled", COMPILED, 1.2),
        device="cuda",
    ),
    sampling_row(
        replace(GPT2, precision="bfloat16", ends=True, pretraining=200),
        "bfloat16, batch 512, end tokens",
        Rival("generate, bfloat16, static cache, compiled", COMPILED, 1.2),
        device="cuda",
    ),
    sampling_row(GPT2, "float32, batch 512", Rival("generate, float32", generate), device="cuda"),
)
