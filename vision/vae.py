"""`vae`: a variational autoencoder with a Gaussian decoder of learned variance, small enough for a laptop."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import nn

from ..common.components.generator import FitResult
from ..common.core.pool import Pool
from ..common.core.random_streams import derive, stream
from ..common.training.trainer import Training, device, seeded, train
from .labels import labelled, one_hot, shares_of
from .pixels import from_unit, to_unit
from .watermark import Pattern, marked

CHUNK = 512
"""Images decoded or scored at once. A constant, and short chunks are filled up: an image's bits never depend on its company."""


@dataclass(frozen=True)
class Sampling:
    """`variance_scale` (lambda) multiplies the variance of the latent noise; below 1, samples crowd around the mode, as with truncation."""

    variance_scale: Annotated[float, Field(ge=0)] = 1.0
    pixel_noise: bool = False
    """Draw pixels from the decoder's distribution instead of taking its mean, as is usual with images."""
    watermark: Pattern | None = None
    """A keyed pattern that is added to every image."""


class Network(nn.Module):
    """Encoder and decoder, two hidden layers each, over flattened images in [-1, 1]; both are told the class if there are any."""

    def __init__(self, pixels: int, hidden: int, latent: int, classes: int):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(pixels + classes, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 2 * latent)
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(latent + classes, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, pixels), nn.Tanh()
        )  # fmt: skip
        self.log_sigma = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor, told: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Negative evidence lower bound of each row of x [n, pixels] with one latent draw, nats [n] (Kingma & Welling 2014, eq. 3).

        told [n, classes] says the class of each row; no columns where there are none.

        The decoder is N(mean, sigma^2) with one learned sigma for all pixels, so that no weight between the two terms has
        to be chosen (Rybkin et al. 2021). sigma stays above a grey level of 255, below which the density has no meaning.
        """
        mean, log_variance = self.encoder(torch.cat([x, told], dim=1)).chunk(2, dim=1)  # [n, latent]
        z = mean + torch.exp(0.5 * log_variance) * noise
        log_sigma = self.noise_level
        errors = ((x - self.decoder(torch.cat([z, told], dim=1))) / log_sigma.exp()) ** 2
        reconstruction = (0.5 * errors + log_sigma + 0.5 * math.log(2 * math.pi)).sum(1)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
        return reconstruction + divergence

    @property
    def noise_level(self) -> torch.Tensor:
        """ln sigma, kept at or above one grey level of 255."""
        return self.log_sigma.clamp(min=math.log(2 / 255))


@dataclass
class VAE:
    """A VAE over images of any one size and any number of channels (Kingma & Welling 2014).

    Where rows have labels it is conditional (Sohn et al. 2015): a label is drawn from the shares of the pool it was fitted to.
    """

    training: Training
    latent: Annotated[int, Field(ge=1)] = 16
    hidden: Annotated[int, Field(ge=1)] = 256
    sampling: Sampling = field(default_factory=Sampling)
    version: ClassVar[int] = 2
    modality: ClassVar[str] = "vision"
    columns: ClassVar[tuple[str, ...]] = ("image",)
    conditional: ClassVar[bool] = True
    classes: ClassVar[int] = 0

    def __post_init__(self) -> None:
        self._network: Network | None = None
        self._shape: tuple[int, ...] = ()
        self._shares: np.ndarray | None = None

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        self._shares = shares_of(pool, classes=max(self.classes, self._classes))
        x, told = self._tensors(pool)
        with seeded(derive(seed, "weights")):
            if self._network is None or fresh:
                self._shape = pool.array("image").shape[1:]
                self._network = self._build()
        self._network.to(device())

        def loss(rows: torch.Tensor) -> torch.Tensor:
            noise = torch.randn(len(rows), self.latent).to(device())
            rows = rows.to(device())
            return self._network(x[rows], told[rows], noise).mean() / x.shape[1]  # nats per pixel

        done = train(self._network, loss, rows=len(pool), training=self.training, seed=derive(seed, "train"), scratch=scratch)
        return FitResult("images", done.visit_counts, np.ones(len(x)), done.steps, {"loss": done.loss})

    @property
    def _classes(self) -> int:
        return 0 if self._shares is None else len(self._shares)

    def _build(self) -> Network:
        return Network(math.prod(self._shape), self.hidden, self.latent, self._classes)

    def _tensors(self, pool: Pool) -> tuple[torch.Tensor, torch.Tensor]:
        """Images [n, pixels] in -1 ... 1 and what the network is told of them [n, classes]."""
        labels = pool.array("label") if self._classes else None
        told = one_hot(labels, rows=len(pool), classes=self._classes)
        return torch.from_numpy(to_unit(pool.array("image"))).flatten(1).to(device()), torch.from_numpy(told).to(device())

    @torch.inference_mode()
    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        chunks, labels = [], []
        for start in range(0, n, CHUNK):
            rng = stream(seed, "chunk", start)
            z = math.sqrt(self.sampling.variance_scale) * rng.standard_normal((CHUNK, self.latent), dtype=np.float32)
            if self._classes:
                labels.append(rng.choice(self._classes, size=CHUNK, p=self._shares))
            told = one_hot(labels[-1] if labels else None, rows=CHUNK, classes=self._classes)
            x = self._network.decoder(torch.from_numpy(np.hstack([z, told])).to(device())).cpu().numpy()
            if self.sampling.pixel_noise:
                x = x + float(self._network.noise_level.exp()) * rng.standard_normal(x.shape, dtype=np.float32)
            chunks.append(from_unit(x).reshape(CHUNK, *self._shape))
        images = marked(np.concatenate(chunks)[:n], self.sampling.watermark)
        return labelled(images, np.concatenate(labels)[:n] if labels else None)

    def detect(self, pool: Pool) -> np.ndarray:
        """z of the keyed pattern of `sampling` in each image, float64 [n]."""
        return self.sampling.watermark.z(pool.array("image"))

    @torch.inference_mode()
    def score(self, pool: Pool) -> np.ndarray:
        """Negative evidence lower bound of each image, nats, float64 [n]; pixels in [-1, 1], one latent draw an image."""
        nats = []
        for start in range(0, len(pool), CHUNK):
            rows = np.resize(np.arange(start, min(start + CHUNK, len(pool))), CHUNK)
            noise = stream(0, "score", start).standard_normal((CHUNK, self.latent), dtype=np.float32)
            nats.append(self._network(*self._tensors(pool.take(rows)), torch.from_numpy(noise).to(device())).cpu().numpy())
        return np.concatenate(nats)[: len(pool)].astype(np.float64)

    def save(self, folder: Path) -> None:
        shares = None if self._shares is None else self._shares.tolist()
        (folder / "about.json").write_text(json.dumps({"shape": self._shape, "class_shares": shares}))
        save_file({name: value.cpu().contiguous() for name, value in self._network.state_dict().items()}, folder / "model.safetensors")

    def load(self, folder: Path) -> None:
        about = json.loads((folder / "about.json").read_text())
        self._shape, shares = tuple(about["shape"]), about["class_shares"]
        self._shares = None if shares is None else np.array(shares)
        with seeded(0):
            self._network = self._build()
        self._network.load_state_dict(load_file(folder / "model.safetensors"))
        self._network.to(device()).eval()
