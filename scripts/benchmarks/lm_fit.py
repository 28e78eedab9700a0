"""Rows `lm-fit`: language models trained here, with `Trainer` of transformers and in a plain loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .language import GPT2, SMALL_LLAMA, TINY, Language, causal_lm, forward_operations, load, meta_model, read_texts, write_files
from .row import Cost, Rival, Row, Task

if TYPE_CHECKING:
    import torch


def fit(language: Language, folder: Path) -> Task:
    from autophagy.common.core.pool import Pool

    model = causal_lm(language, steps=language.steps, batch=language.batch)
    model.load(folder / "model")
    pool = Pool.of(text=read_texts(folder))
    return Task(lambda: model.fit(pool, seed=0, scratch=folder), lambda result: result.consumed.sum())


def trainer(language: Language, folder: Path) -> Task:
    model, tokenizer, device = load(folder)
    texts = read_texts(folder)
    return Task(lambda: train_with_trainer(language, model, tokenizer, texts, folder=folder, device=device), trained_tokens)


def train_with_trainer(
    language: Language, model: Any, tokenizer: Any, texts: list[str], *, folder: Path, device: torch.device
) -> list[list[int]]:
    """Train with `Trainer` and its default settings, except that it writes no checkpoint and no log. Returns the tokens of the texts."""
    import transformers
    from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments

    transformers.logging.set_verbosity_error()
    arguments = TrainingArguments(
        str(folder / "trainer"), max_steps=language.steps, per_device_train_batch_size=language.batch, save_strategy="no",
        report_to="none", disable_tqdm=True, use_cpu=device.type == "cpu",
    )  # fmt: skip
    rows = token_rows(language, tokenizer, texts)
    dataset: Any = [{"input_ids": row} for row in rows]
    Trainer(model, arguments, data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False), train_dataset=dataset).train()
    return rows


def plain_loop(language: Language, folder: Path, *, precision: str = "float32", compiled: bool = False) -> Task:
    """A training loop as an experienced user would write it: fused AdamW, cosine schedule, clipped gradients, short padding."""
    import torch
    from transformers import get_cosine_schedule_with_warmup

    model, tokenizer, device = load(folder)
    forward = torch.compile(model) if compiled else model
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"

    def run() -> list[list[int]]:
        rows = token_rows(language, tokenizer, read_texts(folder))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
        schedule = get_cosine_schedule_with_warmup(optimizer, language.steps // 20, language.steps)
        model.train()
        for batch in batches(rows, language, tokenizer.pad_token_id, device):
            with torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext():
                loss = forward(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
        return rows

    return Task(run, trained_tokens)


def batches(rows: list[list[int]], language: Language, filler: int, device: torch.device) -> Iterator[dict[str, torch.Tensor]]:
    """Yield shuffled batches on the device, padded to the next multiple of 8 tokens."""
    import torch

    def collate(batch: list[list[int]]) -> dict[str, torch.Tensor]:
        width = -(-max(map(len, batch)) // 8) * 8
        padded = torch.tensor([row + [filler] * (width - len(row)) for row in batch])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in batch])
        return {"input_ids": padded, "attention_mask": mask, "labels": padded.masked_fill(mask == 0, -100)}

    dataset: Any = rows
    loader = torch.utils.data.DataLoader(dataset, language.batch, shuffle=True, collate_fn=collate, pin_memory=device.type == "cuda")
    for batch in loader:
        yield {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def token_rows(language: Language, tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """Return start token, tokens and end token of each text, truncated like the rows of this package."""
    start, end = [tokenizer.bos_token_id], [tokenizer.eos_token_id] if language.ends else []
    tokens = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return [(start + row + end)[: language.context + 1] for row in tokens]


def trained_tokens(rows: list[list[int]]) -> float:
    """Count the predicted tokens: all but the first of each row, without padding."""
    return sum(len(row) - 1 for row in rows)


def fit_cost(language: Language) -> Cost:
    """Count a forward pass, and a backward pass that costs twice as much."""
    return Cost(3 * forward_operations(language, meta_model(language)), precision=language.precision)


def fit_row(language: Language, case: str, *rivals: Rival, device: str = "cpu") -> Row:
    return Row("lm-fit", case, "tokens/s", fit, language, TINY, rivals, write_files, cost=fit_cost, device=device)


GPT2_FIT = replace(GPT2, batch=32, ends=True)
ROWS = (
    fit_row(replace(SMALL_LLAMA, ends=True), "batch 32", Rival("Trainer", trainer, 1.5), Rival("plain loop", plain_loop, 1.2)),
    fit_row(
        replace(GPT2_FIT, precision="bfloat16"),
        "bfloat16, batch 32",
        Rival("plain loop, bfloat16, compiled", partial(plain_loop, precision="bfloat16", compiled=True), 1),
        Rival("Trainer (float32)", trainer, 2),
        device="cuda",
    ),
    fit_row(
        replace(GPT2_FIT, precision="tf32"),
        "tf32, batch 32",
        Rival("plain loop, tf32", partial(plain_loop, precision="tf32")),
        device="cuda",
    ),
    fit_row(GPT2_FIT, "float32, batch 32", Rival("plain loop, float32", plain_loop), device="cuda"),
)
