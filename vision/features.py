"""Feature models for images: a small classifier of the real classes, Inception, and plain pixels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import nn

from ..common.core.errors import UserError
from ..common.core.pool import Pool
from ..common.core.random_streams import derive
from ..common.training.trainer import Training, device, seeded, train
from .pixels import to_unit

CHUNK = 500


class Convolutions(nn.Module):
    """Two convolutions, one feature layer, one linear layer of class scores."""

    def __init__(self, colours: int, height: int, width: int, features: int, classes: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(colours, 32, 3, padding=1), nn.SiLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.SiLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
            nn.Linear(64 * 16, features), nn.SiLU(),
        )  # fmt: skip
        self.head = nn.Linear(features, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


@dataclass
class Classifier:
    """A small classifier trained on the real training images: its last hidden layer gives features, its head classes.

    This is what Alemohammad et al. 2024 use in place of Inception for MNIST. Needs labels.
    """

    features: Annotated[int, Field(ge=2)] = 64
    training: Training = field(default_factory=lambda: Training(steps=600, batch=64, learning_rate=2e-3))
    version: ClassVar[int] = 2

    def fit(self, pool: Pool, *, seed: int, scratch: Path) -> None:
        if "label" not in pool:
            raise UserError(
                "features: 'classifier' needs labelled images, this data has no labels; try features=pixels or features=inception"
            )
        x, labels = _planes(pool), torch.from_numpy(pool.array("label").copy()).to(device())
        self._shape = (*x.shape[1:], self.features, int(labels.max()) + 1)
        with seeded(derive(seed, "weights")):
            self._network = Convolutions(*self._shape)
        self._network.to(device())

        def loss(rows: torch.Tensor) -> torch.Tensor:
            rows = rows.to(device())
            return nn.functional.cross_entropy(self._network(x[rows].to(device())), labels[rows])

        train(self._network, loss, rows=len(pool), training=self.training, seed=derive(seed, "train"), scratch=scratch)

    @torch.inference_mode()
    def __call__(self, pool: Pool) -> Mapping[str, np.ndarray]:
        """`features` float32 [n, d] and `probabilities` float32 [n, classes]."""
        features = torch.cat([self._network.body(chunk.to(device())) for chunk in _planes(pool).split(CHUNK)])
        return {"features": features.cpu().numpy(), "probabilities": self._network.head(features).softmax(-1).cpu().numpy()}

    def save(self, folder: Path) -> None:
        (folder / "shape.json").write_text(json.dumps(self._shape))
        save_file({name: value.cpu().contiguous() for name, value in self._network.state_dict().items()}, folder / "model.safetensors")

    def load(self, folder: Path) -> None:
        self._shape = tuple(json.loads((folder / "shape.json").read_text()))
        with seeded(0):
            self._network = Convolutions(*self._shape)
        self._network.load_state_dict(load_file(folder / "model.safetensors"))
        self._network.to(device()).eval()


@dataclass
class Inception:
    """Inception-v3's 2,048 pool features as in FID (Heusel et al. 2017), through torchmetrics. Fetches its weights once."""

    version: ClassVar[int] = 1

    def fit(self, pool: Pool, *, seed: int, scratch: Path) -> None:
        """Nothing is learned here; the weights are fetched now, so that a missing network is noticed at once."""
        self._load()

    def _load(self) -> None:
        from huggingface_hub.constants import HF_HUB_OFFLINE
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
        from torchmetrics.image.fid import FrechetInceptionDistance

        kept = Path(torch.hub.get_dir(), "checkpoints", URL_INCEPTION_V3.rpartition("/")[2])
        if HF_HUB_OFFLINE and not kept.exists():
            raise UserError(f"features: Inception's weights cannot be had: {kept} is not there, and HF_HUB_OFFLINE says to stay offline")
        try:
            self._network = FrechetInceptionDistance(feature=2048).inception.to(device()).eval()
        except Exception as error:  # whatever it is, the weights are not to be had
            raise UserError(f"features: Inception's weights cannot be had: {type(error).__name__}: {error}") from error

    @torch.inference_mode()
    def __call__(self, pool: Pool) -> Mapping[str, np.ndarray]:
        """`features` float32 [n, 2048]."""
        images = torch.from_numpy(pool.array("image")).permute(0, 3, 1, 2)
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        return {"features": torch.cat([self._network(chunk.to(device())) for chunk in images.split(50)]).cpu().float().numpy()}

    def save(self, folder: Path) -> None:
        (folder / "network.json").write_text(json.dumps("inception-v3-compat-fid"))

    def load(self, folder: Path) -> None:
        self._load()


@dataclass
class Pixels:
    """The grey image averaged down to at most 8 x 8 pixels: features that need no labels, no weights and no training."""

    version: ClassVar[int] = 1

    def fit(self, pool: Pool, *, seed: int, scratch: Path) -> None:
        """Nothing is learned."""

    def __call__(self, pool: Pool) -> Mapping[str, np.ndarray]:
        """`features` float32 [n, at most 64]."""
        grey = _planes(pool).mean(dim=1, keepdim=True)
        return {"features": nn.functional.adaptive_avg_pool2d(grey, min(8, *grey.shape[2:])).flatten(1).numpy()}

    def save(self, folder: Path) -> None:
        (folder / "pixels.json").write_text("{}")

    def load(self, folder: Path) -> None:
        """Nothing to load."""


def _planes(pool: Pool) -> torch.Tensor:
    """float32 [n, c, h, w] in -1 ... 1."""
    return torch.from_numpy(to_unit(pool.array("image"))).permute(0, 3, 1, 2).contiguous()
