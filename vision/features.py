"""Feature models for images: a small classifier, Inception and averaged pixels. Pretrained encoders are in `encoder.py`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..common.components.fitted import Fitted
from ..common.core.errors import UserError
from ..common.core.pool import Pool
from ..common.core.random_streams import derive
from ..common.training.settings import Training

if TYPE_CHECKING:
    import torch

    from .classifier_network import Convolutions  # noqa: F401 - used in Fitted["..."], which ruff does not check

CHUNK = 500
"""Number of images per batch of the classifier."""
INCEPTION_CHUNK = 50
"""Number of images per batch of Inception."""


@dataclass
class Classifier:
    """A small classifier trained on real training images with labels. Returns its last hidden layer and class probabilities.

    Alemohammad et al. 2024 use such a classifier in place of Inception for MNIST.
    """

    features: Annotated[int, Field(ge=2)] = 64
    """Number of units in the last hidden layer."""
    training: Training = field(default_factory=lambda: Training(steps=600, batch=64, learning_rate=2e-3))
    version: ClassVar[int] = 2
    _network = Fitted["Convolutions"]()
    _network_shape = Fitted[tuple[int, ...]]()
    """Arguments of `Convolutions`: colours, height, width, features, classes."""

    def fit(self, pool: Pool, *, seed: int, scratch: Path) -> None:
        if "label" not in pool:
            raise UserError("features: 'classifier' needs labelled images, but this data has no labels; use features=pixels or inception")
        import torch

        from ..common.core.device import device, seeded
        from ..common.training.trainer import train
        from .classifier_network import Convolutions

        images, labels = pool.array("image"), pool.array("label")
        height, width, colours = images.shape[1:]
        self._network_shape = (colours, height, width, self.features, int(labels.max()) + 1)
        with seeded(derive(seed, "weights")):
            network = Convolutions(*self._network_shape)
        self._network = network.to(device())
        pixels, classes = (torch.from_numpy(values.copy()).to(device()) for values in (images, labels))

        def loss(rows: torch.Tensor) -> torch.Tensor:
            rows = rows.to(classes.device)
            return torch.nn.functional.cross_entropy(network(_planes(pixels[rows])), classes[rows])

        train(network, loss, rows=len(pool), training=self.training, seed=derive(seed, "train"), scratch=scratch)

    def __call__(self, pool: Pool) -> Mapping[str, np.ndarray]:
        """Compute features. Returns `features`, float32 [n, d], and `probabilities`, float32 [n, classes]."""
        import torch

        from ..common.core.device import compute_in

        network = self._network
        with torch.inference_mode(), compute_in(self.training.precision):
            chunks = (_planes(images.to(network.head.weight.device)) for images in _chunks(pool, CHUNK))
            features = torch.cat([network.body(planes) for planes in chunks])
            outputs = {"features": features, "probabilities": network.head(features).float().softmax(-1)}
            return {name: values.float().cpu().numpy() for name, values in outputs.items()}

    def save(self, folder: Path) -> None:
        from safetensors.torch import save_file

        (folder / "shape.json").write_text(json.dumps(self._network_shape))
        save_file({name: value.cpu().contiguous() for name, value in self._network.state_dict().items()}, folder / "model.safetensors")

    def load(self, folder: Path) -> None:
        from safetensors.torch import load_file

        from ..common.core.device import device, seeded
        from .classifier_network import Convolutions

        self._network_shape = tuple(json.loads((folder / "shape.json").read_text()))
        with seeded(0):
            network = Convolutions(*self._network_shape)
        network.load_state_dict(load_file(folder / "model.safetensors"))
        self._network = network.to(device()).eval()


@dataclass
class Inception:
    """Inception-v3 from torchmetrics, with 2,048 pool features as in FID (Heusel et al. 2017). The weights are downloaded once."""

    version: ClassVar[int] = 1
    _network = Fitted["torch.nn.Module"]()

    def fit(self, pool: Pool, *, seed: int, scratch: Path) -> None:
        """Load the weights without training. A failed download then raises an error before the chains start."""
        self._load_network()

    def _load_network(self) -> None:
        import torch
        from huggingface_hub.constants import HF_HUB_OFFLINE
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
        from torchmetrics.image.fid import FrechetInceptionDistance

        from ..common.core.device import device

        path = Path(torch.hub.get_dir(), "checkpoints", URL_INCEPTION_V3.rpartition("/")[2])
        if HF_HUB_OFFLINE and not path.exists():
            raise UserError(f"features: the weights of Inception are missing: no file {path}, and HF_HUB_OFFLINE forbids the download")
        try:
            self._network = FrechetInceptionDistance(feature=2048).inception.to(device()).eval()
        except Exception as error:  # downloading and reading the file can raise many types
            raise UserError(f"features: the weights of Inception cannot be loaded: {type(error).__name__}: {error}") from error

    def __call__(self, pool: Pool) -> Mapping[str, np.ndarray]:
        """Compute features. Returns `features`, float32 [n, 2048]."""
        import torch

        from ..common.core.device import compute_in, device

        features = []
        with torch.inference_mode(), compute_in("float32"):
            for images in _chunks(pool, INCEPTION_CHUNK):
                features.append(self._network(images.to(device()).permute(0, 3, 1, 2).expand(-1, 3, -1, -1)))
        return {"features": torch.cat(features).float().cpu().numpy()}

    def save(self, folder: Path) -> None:
        (folder / "network.json").write_text(json.dumps("inception-v3-compat-fid"))

    def load(self, folder: Path) -> None:
        self._load_network()


@dataclass
class Pixels:
    """Pixels of the grey image, averaged to at most 8 x 8. This feature model needs no labels, no weights and no training."""

    version: ClassVar[int] = 1

    def fit(self, pool: Pool, *, seed: int, scratch: Path) -> None:
        """Do nothing, because this feature model has no parameters."""

    def __call__(self, pool: Pool) -> Mapping[str, np.ndarray]:
        """Compute features. Returns `features`, float32 [n, at most 64]."""
        import torch

        features = []
        for images in _chunks(pool, CHUNK):
            grey = _planes(images).mean(dim=1, keepdim=True)
            features.append(torch.nn.functional.adaptive_avg_pool2d(grey, min(8, *grey.shape[2:])).flatten(1))
        return {"features": torch.cat(features).numpy()}

    def save(self, folder: Path) -> None:
        (folder / "pixels.json").write_text("{}")

    def load(self, folder: Path) -> None:
        """Do nothing, because this feature model has no parameters to load."""


def _chunks(pool: Pool, size: int) -> Iterator[torch.Tensor]:
    """Yield the images of a pool in chunks, uint8 [at most size, h, w, c], on the host."""
    import torch

    images = pool.array("image")
    for start in range(0, max(1, len(images)), size):
        yield torch.from_numpy(images[start : start + size].copy())  # a copy, because pools are read-only


def _planes(images: torch.Tensor) -> torch.Tensor:
    """Convert images, uint8 [n, h, w, c], to float32 [n, c, h, w] in [-1, 1], on their device."""
    return images.permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1
