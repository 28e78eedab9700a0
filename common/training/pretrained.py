"""Checkpoints in Hugging Face format: where they are, what is in them, and which architectures can be built without one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING, AutoConfig

from ..core.errors import UserError, did_you_mean
from ..core.paths import path_of


@cache
def checkpoint(pretrained: str, revision: str | None) -> Path:
    """The folder of a checkpoint: itself if it is one, else the hub's snapshot (safetensors, settings and tokenizer files only)."""
    folder = path_of(pretrained, key="pretrained")
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        try:
            folder = Path(snapshot_download(pretrained, revision=revision, allow_patterns=["*.safetensors", "*.json", "*.txt", "*.model"]))
        except Exception as error:  # the hub's errors have no common type; all of them mean: not to be had
            raise UserError(
                f"pretrained: '{pretrained}' is not a folder here, and the hub does not give it: {type(error).__name__}: {error}"
            ) from error
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"pretrained: {folder} holds no .safetensors file; pickled weights are refused")
    if (folder / "adapter_config.json").exists():  # it names a model of its own, which would be fetched unasked
        raise UserError(f"pretrained: {folder} is an adapter to another model; merge it into that one first")
    return folder


def digests(folder: Path) -> Mapping[str, str]:
    """sha256 of every file of a checkpoint, by name."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".json", ".txt", ".model"))
    try:
        return {path.name: _digest(path, path.stat().st_mtime_ns, path.stat().st_size) for path in files}
    except OSError as error:
        raise UserError(f"pretrained: {error.filename} cannot be read: {error.strerror}") from error


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Inside, whatever goes wrong is the checkpoint's fault: a UserError naming its folder."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # transformers, tokenizers and safetensors meet broken files with whatever error comes up
        raise UserError(f"pretrained: {folder} cannot be read: {type(error).__name__}: {' '.join(str(error).split())}") from error


@cache
def _digest(path: Path, modified_ns: int, size: int) -> str:
    """sha256 of a file, computed again only if it has been written since."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def feature_model(folder: Path) -> tuple[Any, list[str]]:
    """The model of a checkpoint without its head, float32, on this machine's device, and the weights that the checkpoint lacks.

    Safetensors only, no remote code; what is lacking is drawn from an own stream, never from the global one.
    """
    import torch
    from transformers import AutoModel

    from .trainer import device, seeded

    with seeded(0), reading(folder):
        model, loaded = AutoModel.from_pretrained(
            folder, trust_remote_code=False, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    return model.to(device()).eval(), sorted(loaded["missing_keys"])


def check_architecture(settings: Mapping[str, Any]) -> None:
    """ValueError for a model type or a setting that transformers does not know; it would ignore the latter in silence."""
    kind = settings.get("model_type")
    if not isinstance(kind, str):
        raise ValueError("architecture: `model_type` says which architecture, such as llama or gpt2")
    if kind not in CONFIG_MAPPING:
        raise ValueError(f"architecture.model_type: transformers knows no '{kind}'{did_you_mean(kind, CONFIG_MAPPING.keys())}")
    known = set(AutoConfig.for_model(kind).to_dict())
    for name in settings:
        if name not in known:
            raise ValueError(f"architecture.{name}: a {kind} has no such setting{did_you_mean(name, known)}")
