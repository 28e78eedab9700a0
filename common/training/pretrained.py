"""Pretrained models in Hugging Face format. Finds their folders, hashes their files, loads them and checks architectures.

Only safetensors weights are loaded. Code in the folder of a model is never run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import UserError, did_you_mean
from ..core.paths import path_of
from ..core.pool import Pool
from ..core.user_cache import cached_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FILE_TYPES = (".safetensors", ".json", ".txt", ".model")
"""Suffixes of weights, settings and tokenizer files. Other files in the folder of a model are ignored."""


@dataclass
class PretrainedEncoder:
    """Common settings and file handling of pretrained feature models for text and images.

    A subclass loads its model in `_load_model` and computes features in `__call__`. Nothing is trained. `fit` loads the weights,
    so that a missing model stops the run before the chains start. `save` records the digests of the files. `load` loads the
    weights from the pretrained model again.
    """

    pretrained: str
    """Id of a model on the Hugging Face hub, or a local folder."""
    revision: str | None = None
    """Branch, tag or commit on the hub. Default: the latest version."""

    def inputs(self) -> Mapping[str, str]:
        """Return the SHA-256 digests of the model's files by name. Part of cache keys, because a name does not fix the content."""
        return file_digests(pretrained_folder(self.pretrained, self.revision))

    def fit(self, pool: Pool, *, seed: int, scratch: Path) -> None:
        """Load the weights. Nothing is trained."""
        self._load_model(pretrained_folder(self.pretrained, self.revision))

    def save(self, folder: Path) -> None:
        """Write the name of the pretrained model and the digests of its files."""
        record = {"pretrained": self.pretrained, "files": dict(self.inputs())}
        (folder / "encoder.json").write_text(json.dumps(record, sort_keys=True))

    def load(self, folder: Path) -> None:
        """Load the weights of the pretrained model."""
        self._load_model(pretrained_folder(self.pretrained, self.revision))

    def _load_model(self, folder: Path) -> None:
        """Load the model from its folder. Subclasses must implement this method."""
        raise NotImplementedError


@cache
def pretrained_folder(pretrained: str, revision: str | None) -> Path:
    """Return the folder of a pretrained model. If `pretrained` is not a local folder, the model is downloaded from the hub.

    Raises UserError if the model does not exist, has no safetensors weights, or is an adapter.
    """
    folder = path_of(pretrained, key="pretrained")
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        try:
            folder = Path(snapshot_download(pretrained, revision=revision, allow_patterns=[f"*{suffix}" for suffix in FILE_TYPES]))
        except Exception as error:  # huggingface_hub has no common base class of errors
            raise UserError(
                f"pretrained: '{pretrained}' is neither a local folder nor a model on the Hugging Face hub: {type(error).__name__}: {error}"
            ) from error
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"pretrained: {folder} has no .safetensors file. Pickled weights are not loaded; convert them to safetensors.")
    if (folder / "adapter_config.json").exists():  # transformers would download the base model that the adapter names
        raise UserError(f"pretrained: {folder} is an adapter, not a whole model. Merge it into its base model first.")
    return folder


def file_digests(folder: Path) -> Mapping[str, str]:
    """Compute the SHA-256 digest of every file of a pretrained model. Raises UserError if a file cannot be read."""
    files = sorted(path for path in folder.iterdir() if path.suffix in FILE_TYPES)
    try:
        return {path.name: _digest(path, path.stat().st_mtime_ns, path.stat().st_size) for path in files}
    except OSError as error:
        raise UserError(f"pretrained: {error.filename} cannot be read: {error.strerror}") from error


@cache
def _digest(path: Path, modified_ns: int, size: int) -> str:
    """Compute the SHA-256 digest of a file. The digest is cached until the modification time or the size of the file changes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def name_folder_in_errors(folder: Path) -> Iterator[None]:
    """Convert every exception in a block to a UserError that names the folder of the pretrained model."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # transformers, tokenizers and safetensors raise many types for broken files
        raise UserError(f"pretrained: {folder} cannot be read: {type(error).__name__}: {' '.join(str(error).split())}") from error


def load_without_head(folder: Path) -> tuple[PreTrainedModel, list[str]]:
    """Load a pretrained model without its task head, in float32, on the device of this machine.

    Returns the model and the names of weights that are missing in its files. Missing weights are initialised from a fixed seed.
    The global random state does not change.
    """
    import torch
    from transformers import AutoModel

    from ..core.device import device, seeded

    with seeded(0), name_folder_in_errors(folder):
        model, loaded = AutoModel.from_pretrained(
            folder, trust_remote_code=False, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    return model.to(device()).eval(), sorted(loaded["missing_keys"])


def check_positions(model: PreTrainedModel, *, tokens: int, setting: str, folder: Path) -> None:
    """Raise UserError if `tokens`, the value of `setting`, exceeds the number of positions of the model."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions and positions < tokens:
        raise UserError(f"{setting}: {tokens} tokens, but the model in {folder} has {positions} positions. Use {setting} <= {positions}.")


def check_architecture(settings: Mapping[str, Any]) -> None:
    """Raise ValueError for an unknown model type or an unknown setting, which transformers would ignore."""
    kind = settings.get("model_type")
    if not isinstance(kind, str):
        raise ValueError("architecture: `model_type` is missing; set it to the name of an architecture, such as llama or gpt2")
    known = _known_settings(kind)
    for name in settings:
        if name not in known:
            raise ValueError(f"architecture.{name}: a {kind} has no such setting{did_you_mean(name, known)}")


@cache
def _known_settings(kind: str) -> list[str]:
    """The settings of a model type, cached per version of transformers, which takes seconds to import."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,50}", kind):  # not a model type, and not a safe file name
        return _setting_names(kind)
    text = cached_text(f"architecture-{version('transformers')}-{kind}.json", lambda: json.dumps(_setting_names(kind)))
    try:
        return [str(name) for name in json.loads(text)]
    except ValueError:  # a damaged cache file
        return _setting_names(kind)


def _setting_names(kind: str) -> list[str]:
    """The settings of a model type of transformers. ValueError if the type is unknown."""
    from transformers import CONFIG_MAPPING, AutoConfig

    if kind not in CONFIG_MAPPING:
        raise ValueError(f"architecture.model_type: unknown model type '{kind}'{did_you_mean(kind, CONFIG_MAPPING.keys())}")
    return sorted(AutoConfig.for_model(kind).to_dict())
