"""`causal-lm`: any transformers causal language model, pretrained or built from a config, fine-tuned generation by generation."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast, StaticCache
from transformers.utils import logging

from ..common.components.generator import FitResult
from ..common.core.errors import UserError
from ..common.core.pool import Pool
from ..common.core.random_streams import derive, stream
from ..common.training.pretrained import check_architecture, file_digests, name_folder_in_errors, pretrained_folder
from ..common.training.trainer import Training, device, seeded, train
from .sampling import Sampling, Watermark, distribution, refuse_broken, watermark_of
from .tokenizer import END, load_tokenizer, train_bpe, disable_cache

logging.disable_progress_bar()  # loading and saving take milliseconds here and would drown the run's own progress

CHUNK = 128
"""Rows sampled at once. A constant, and short chunks are filled up: a row's bits never depend on how many are asked for."""
SCORED = 16
"""Rows scored at once; small, because every position keeps its logits over the vocabulary."""
WIDTH = 16
"""Windows to be scored are filled up to a multiple of so many tokens, so that short ones cost little."""

IGNORED = -100

SMALL_LLAMA = {
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "tie_word_embeddings": True,
}


@dataclass
class CausalLM:
    """A causal language model over byte-level BPE tokens.

    `pretrained` is a hub id or a folder in Hugging Face format (safetensors only, no remote code). Without it, a model is
    built from `architecture`, the arguments of a transformers config with its `model_type` (left out: a Llama of 0.7
    million weights), with a tokenizer of `vocabulary` entries (left out: 2,048) trained on the first pool it sees; with a
    `base:` section that is the base split, and every generation keeps that tokenizer.

    A row is one sequence: start token, its tokens, an end token; it is cut at `context` tokens. With prompts, the first
    `prompt_tokens` tokens of a real row are continued up to `context` tokens, and a made row is the continuation alone.

    With `ends: false` rows are passages out of longer text: no end token is learned and none is drawn, so every made row is as
    long as `context` allows. Prompts want this: a model that learns that text ends where its training rows did, which were
    continuations without their prompts, goes on from a prompt with less and less, whatever else it has learned.
    """

    training: Training
    pretrained: str | None = None
    revision: str | None = None
    architecture: dict[str, Any] | None = None
    vocabulary: Annotated[int, Field(ge=257)] | None = None
    context: Annotated[int, Field(ge=2)] = 64
    prompt_tokens: Annotated[int, Field(ge=1)] = 16
    ends: bool = True
    """Whether a row is a whole text, whose end is learned and drawn."""
    sampling: Sampling = field(default_factory=Sampling)
    version: ClassVar[int] = 3
    modality: ClassVar[str] = "text"
    columns: ClassVar[tuple[str, ...]] = ("text",)
    continues: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.prompt_tokens >= self.context:
            raise ValueError(f"prompt_tokens: {self.prompt_tokens} leaves nothing to write within context = {self.context}")
        if self.pretrained and (self.architecture or self.vocabulary):
            raise ValueError("pretrained: a checkpoint brings its own architecture and vocabulary; leave those out")
        if self.architecture is not None:
            check_architecture(self.architecture)
        self._model: Any = None
        self._tokenizer: Any = None

    # ---- learning -------------------------------------------------------------------------------------------------

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        texts = pool.list("text")
        with seeded(derive(seed, "weights")):
            self._begin(texts, fresh=fresh)
        self._model.to(device())
        sequences = self._encode(texts)
        lengths = np.array([len(sequence) - 1 for sequence in sequences])

        def loss(rows: torch.Tensor) -> torch.Tensor:
            tokens = _padded([sequences[row] for row in rows.tolist()], self._tokenizer.eos_token_id)
            targets = _padded([sequences[row] for row in rows.tolist()], IGNORED)
            logits = self._model(tokens[:, :-1]).logits  # [batch, tokens, vocabulary]
            return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets[:, 1:].flatten(), ignore_index=IGNORED)

        done = train(self._model, loss, rows=len(pool), training=self.training, seed=derive(seed, "train"), scratch=scratch)
        cut = np.mean([len(sequence) > self.context and sequence[-1] != self._tokenizer.eos_token_id for sequence in sequences])
        stats = {"loss": done.loss, "rows_cut_at_context": float(cut)}
        return FitResult("tokens", done.visit_counts, lengths, done.steps, stats)

    def _begin(self, texts: list[str], *, fresh: bool) -> None:
        """The weights and the tokenizer that a fit starts from."""
        if self._model is None and self.pretrained:
            self._read(pretrained_folder(self.pretrained, self.revision))
        if self._tokenizer is None:
            bpe = train_bpe(texts, self.vocabulary or 2048)
            self._tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END, bos_token=END, pad_token=END)
            disable_cache(self._tokenizer.backend_tokenizer)
        if self._model is not None and fresh:
            self._model = AutoModelForCausalLM.from_config(self._model.config)
        if self._model is None:
            end = self._tokenizer.eos_token_id
            settings = {"max_position_embeddings": self.context + 1, **(self.architecture or SMALL_LLAMA)}
            tokens = {"vocab_size": len(self._tokenizer), "bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
            try:
                self._model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings, **tokens))
            except Exception as error:  # every architecture has a mind of its own about which settings go together
                raise UserError(f"generator.architecture: no model can be built of it: {type(error).__name__}: {error}") from error

    def _encode(self, texts: list[str]) -> list[list[int]]:
        """Start token, tokens, end token (if rows have one), cut at `context` tokens after the start."""
        end = [self._tokenizer.eos_token_id] if self.ends else []
        return [[self._start, *tokens, *end][: self.context + 1] for tokens in self._tokens(texts)]

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        return self._tokenizer(texts, add_special_tokens=False)["input_ids"]

    @property
    def _start(self) -> int:
        """The token every sequence starts with: the tokenizer's own, or its end token where it has none (as GPT-2)."""
        start = self._tokenizer.bos_token_id
        return self._tokenizer.eos_token_id if start is None else start

    # ---- sampling -------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        """n rows of text; `given` rows (at least n) are the prompts. Draws one uniform number a token and inverts the CDF."""
        prompts = [[self._start]] * n
        if given is not None:
            if len(given) < n:
                raise ValueError(f"{n} rows are to be continued, {len(given)} were given")
            prompts = [[self._start, *row[: self.prompt_tokens]] for row in self._tokens(given.slice(0, n).list("text"))]
        texts = [""] * n
        for rows in _chunks_of_equal_length(prompts):
            uniforms = np.stack([stream(seed, "row", row).random(self.context) for row in rows])
            for row, tokens in zip(rows, self._continue([prompts[row] for row in rows], uniforms), strict=True):
                texts[row] = self._tokenizer.decode(tokens, clean_up_tokenization_spaces=False)
        return Pool.of(text=texts)

    def _continue(self, prompts: list[list[int]], uniforms: np.ndarray) -> list[list[int]]:
        """New tokens after prompts of one length, without the end token; never empty. uniforms [rows, context]."""
        end, filled = self._tokenizer.eos_token_id, [*prompts, *[prompts[0]] * (CHUNK - len(prompts))]
        tokens = torch.tensor(filled, device=device())  # [CHUNK, prompt]
        watermark = self._watermark()
        draws = torch.from_numpy(np.resize(uniforms, (CHUNK, uniforms.shape[1]))).to(device())
        cache = StaticCache(config=self._model.config, max_cache_len=self.context + 1)
        kept = {"cache" if "cache" in inspect.signature(self._model.forward).parameters else "past_key_values": cache}  # its older name
        ended = torch.zeros(CHUNK, dtype=torch.bool, device=device())
        generated = []
        for step in range(self.context + 1 - tokens.shape[1]):
            logits = self._model(tokens, **kept, use_cache=True, logits_to_keep=1).logits[:, -1].double()
            if step == 0 or not self.ends:
                logits[:, end] = -torch.inf  # an empty row could not be learned from
            chances = distribution(logits, self.sampling)  # [CHUNK, vocabulary]
            if watermark is not None:
                chances = chances * torch.from_numpy(watermark.boost(tokens[:, -1].tolist())).to(device())
            chances = chances.cumsum(-1)
            refuse_broken(chances[:, -1])
            drawn = torch.searchsorted(chances, draws[:, step : step + 1] * chances[:, -1:], right=True)
            tokens = drawn.clamp(max=chances.shape[1] - 1)
            ended |= tokens[:, 0] == end
            generated.append(tokens[:, 0])
            if ended.all():
                break
        rows = torch.stack(generated, dim=1)[: len(prompts)].tolist()
        return [row[: row.index(end)] if end in row else row for row in rows]

    # ---- scoring --------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def score(self, pool: Pool) -> np.ndarray:
        """Nats of each row's tokens given a start token, float64 [n]; rows longer than `context` in windows of `context`."""
        end = self._tokenizer.eos_token_id
        by_width: dict[int, list[tuple[int, list[int]]]] = {}
        for row, tokens in enumerate(self._tokens(pool.list("text"))):
            for start in range(0, len(tokens), self.context):
                window = [self._start, *tokens[start : start + self.context]]
                width = min(-(-len(window) // WIDTH) * WIDTH, self.context + 1)  # the model may have no more positions
                by_width.setdefault(width, []).append((row, window))
        nats = np.zeros(len(pool))
        for width, windows in sorted(by_width.items()):
            for start in range(0, len(windows), SCORED):
                rows, chunk = zip(*windows[start : start + SCORED], strict=True)
                filled = [*chunk, *[[end]] * (SCORED - len(chunk))]
                inputs, targets = _padded(filled, end, width=width), _padded(filled, IGNORED, width=width)
                logits = self._model(inputs[:, :-1]).logits.float()
                wanted = targets[:, 1:].flatten()
                losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted, ignore_index=IGNORED, reduction="none")
                per_row = losses.double().view(SCORED, -1).sum(1)
                np.add.at(nats, list(rows), per_row[: len(chunk)].cpu().numpy())
        return nats

    @torch.inference_mode()
    def edit(self, pool: Pool, *, above: float, seed: int) -> tuple[Pool, float]:
        """The rows with every token likelier than `above` drawn anew in its place, and the share of tokens drawn.

        All chances are those after the row as it was (Zhu et al. 2024, eq. 4); tokens beyond `context` stay.
        """
        end, texts, drawn, total = self._tokenizer.eos_token_id, [], 0, 0
        rows = self._tokens(pool.list("text"))
        for start in range(0, len(rows), SCORED):
            chunk = rows[start : start + SCORED]
            filled = [[self._start, *row[: self.context]] for row in [*chunk, *[[]] * (SCORED - len(chunk))]]
            chances = torch.softmax(self._model(_padded(filled, end, width=self.context + 1)[:, :-1]).logits.double(), dim=-1)
            chances[:, :, end] = 0.0
            sums = chances.cumsum(-1)  # [SCORED, context, vocabulary]
            refuse_broken(sums[..., -1])
            for place, row in enumerate(chunk):
                n = min(len(row), self.context)
                u = torch.from_numpy(stream(seed, "row", start + place).random(n)).to(device())
                again = torch.searchsorted(sums[place, :n], u[:, None] * sums[place, :n, -1:], right=True)[:, 0]
                old = torch.tensor(row[:n], device=device(), dtype=torch.long)
                which = chances[place, :n].gather(1, old[:, None])[:, 0] > above
                new = torch.where(which, again.clamp(max=sums.shape[-1] - 1), old).tolist()
                texts.append(self._tokenizer.decode([*new, *row[n:]], clean_up_tokenization_spaces=False))
                drawn, total = drawn + int(which.sum()), total + len(row)
        return Pool.of(text=texts), drawn / max(1, total)

    def detect(self, pool: Pool) -> np.ndarray:
        """z of the green-list watermark of `sampling` in each row, float64 [n]."""
        watermark = self._watermark()
        return np.array([watermark.z(row) for row in self._tokens(pool.list("text"))], dtype=np.float64)

    def _watermark(self) -> Watermark | None:
        return watermark_of(self.sampling.watermark, self._model.config.vocab_size)

    @torch.inference_mode()
    def read(self, pool: Pool) -> np.ndarray:
        """Last hidden state averaged over the first `context` tokens of each row, float32 [n, hidden]."""
        rows = [[self._start, *row[: self.context]] for row in self._tokens(pool.list("text"))]
        found = np.zeros((len(rows), self._model.config.hidden_size), dtype=np.float32)
        for start in range(0, len(rows), SCORED):
            chunk = rows[start : start + SCORED]
            filled = _padded([*chunk, *[[self._start]] * (SCORED - len(chunk))], self._tokenizer.eos_token_id, width=self.context + 1)
            states = self._model.base_model(filled[:, :-1]).last_hidden_state
            for place, row in enumerate(chunk):
                found[start + place] = states[place, : min(len(row), self.context)].mean(0).cpu().numpy()
        return found

    def tokens(self, pool: Pool) -> np.ndarray:
        """Tokens that `score` counts in each row, int64 [n]."""
        return np.array([len(row) for row in self._tokens(pool.list("text"))], dtype=np.int64)

    # ---- keeping --------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """A folder that `transformers` itself can load."""
        self._model.save_pretrained(folder)
        self._tokenizer.save_pretrained(folder)

    def load(self, folder: Path) -> None:
        self._read(folder)

    def _read(self, folder: Path) -> None:
        self._tokenizer = load_tokenizer(folder)
        self._tokenizer.model_max_length = int(1e9)  # rows are cut by `context`, which says so
        if self._tokenizer.eos_token_id is None:
            raise UserError(f"generator.pretrained: the tokenizer in {folder} has no end-of-text token")
        with seeded(0), name_folder_in_errors(folder):  # transformers draws weights before it reads them
            self._model, loaded = AutoModelForCausalLM.from_pretrained(
                folder, trust_remote_code=False, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
        if missing := sorted(loaded["missing_keys"]):
            raise UserError(f"generator.pretrained: {folder} has no {missing[0]}, which would be random")
        self._model.to(device()).eval()
        if (longest := getattr(self._model.config, "max_position_embeddings", None)) and longest < self.context:
            raise UserError(f"generator.context: {self.context} tokens are asked for, the model in {folder} has positions for {longest}")

    def inputs(self) -> Mapping[str, str]:
        """sha256 of the files of the pretrained checkpoint: part of every key, since a name is not a content."""
        if not self.pretrained:
            return {}
        return file_digests(pretrained_folder(self.pretrained, self.revision))


def _padded(sequences: list[list[int]], filler: int, *, width: int = 0) -> torch.Tensor:
    """int64 [rows, longest or width]; causal attention never looks right, so padding there needs no mask."""
    width = max(width, *map(len, sequences))
    return torch.tensor([[*row, *[filler] * (width - len(row))] for row in sequences], device=device())


def _chunks_of_equal_length(prompts: list[list[int]]) -> Iterator[list[int]]:
    """Row numbers in chunks of at most CHUNK rows whose prompts are equally long, so that none needs padding."""
    by_length: dict[int, list[int]] = {}
    for row, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt), []).append(row)
    for rows in by_length.values():
        for start in range(0, len(rows), CHUNK):
            yield rows[start : start + CHUNK]
