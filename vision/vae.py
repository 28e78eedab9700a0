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

from ..common.generator import Fitted
from ..common.pool import Pool
from ..common.seeds import derive, stream
from ..common.train import Training, device, seeded, train
from .pixels import from_unit, to_unit

CHUNK = 512
"""Images decoded or scored at once. A constant, and short chunks are filled up: an image's bits never depend on its company."""


@dataclass(frozen=True)
class Sampling:
    """`scale` (lambda) multiplies the latent noise; below 1, samples crowd around the mode, as with truncation."""

    scale: Annotated[float, Field(ge=0)] = 1.0
    pixel_noise: bool = False
    """Draw pixels from the decoder's distribution instead of taking its mean, as is usual with images."""


class Network(nn.Module):
    """Encoder and decoder, two hidden layers each, over flattened images in [-1, 1]."""

    def __init__(self, pixels: int, hidden: int, latent: int):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(pixels, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 2 * latent)
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, pixels), nn.Tanh()
        )  # fmt: skip
        self.log_sigma = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Negative evidence lower bound of each row of x [n, pixels] with one latent draw, nats [n] (Kingma & Welling 2014, eq. 3).

        The decoder is N(mean, sigma^2) with one learned sigma for all pixels, so that no weight between the two terms has
        to be chosen (Rybkin et al. 2021). sigma stays above a grey level of 255, below which the density has no meaning.
        """
        mean, log_variance = self.encoder(x).chunk(2, dim=1)  # [n, latent]
        z = mean + torch.exp(0.5 * log_variance) * noise
        log_sigma = self.noise_level
        errors = ((x - self.decoder(z)) / log_sigma.exp()) ** 2
        reconstruction = (0.5 * errors + log_sigma + 0.5 * math.log(2 * math.pi)).sum(1)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
        return reconstruction + divergence

    @property
    def noise_level(self) -> torch.Tensor:
        """ln sigma, kept at or above one grey level of 255."""
        return self.log_sigma.clamp(min=math.log(2 / 255))


@dataclass
class VAE:
    """A VAE over images of any one size and any number of channels (Kingma & Welling 2014)."""

    training: Training
    latent: Annotated[int, Field(ge=1)] = 16
    hidden: Annotated[int, Field(ge=1)] = 256
    sampling: Sampling = field(default_factory=Sampling)
    version: ClassVar[int] = 2
    modality: ClassVar[str] = "vision"
    columns: ClassVar[tuple[str, ...]] = ("image",)

    def __post_init__(self) -> None:
        self._network: Network | None = None
        self._shape: tuple[int, ...] = ()

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> Fitted:
        x = torch.from_numpy(to_unit(pool.array("image"))).flatten(1).to(device())
        with seeded(derive(seed, "weights")):
            if self._network is None or fresh:
                self._shape = pool.array("image").shape[1:]
                self._network = Network(x.shape[1], self.hidden, self.latent)
        self._network.to(device())

        def loss(rows: torch.Tensor) -> torch.Tensor:
            noise = torch.randn(len(rows), self.latent).to(device())
            return self._network(x[rows.to(device())], noise).mean() / x.shape[1]  # nats per pixel

        done = train(self._network, loss, rows=len(pool), training=self.training, seed=derive(seed, "train"), scratch=scratch)
        return Fitted("images", done.seen, np.ones(len(x)), done.steps, {"loss": done.loss})

    @torch.inference_mode()
    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        chunks = []
        for start in range(0, n, CHUNK):
            rng = stream(seed, "chunk", start)
            z = self.sampling.scale * rng.standard_normal((CHUNK, self.latent), dtype=np.float32)
            x = self._network.decoder(torch.from_numpy(z).to(device())).cpu().numpy()
            if self.sampling.pixel_noise:
                x = x + float(self._network.noise_level.exp()) * rng.standard_normal(x.shape, dtype=np.float32)
            chunks.append(from_unit(x).reshape(CHUNK, *self._shape))
        return Pool.of(image=np.concatenate(chunks)[:n])

    @torch.inference_mode()
    def score(self, pool: Pool) -> np.ndarray:
        """Negative evidence lower bound of each image, nats, float64 [n]; pixels in [-1, 1], one latent draw an image."""
        x = to_unit(pool.array("image")).reshape(len(pool), -1)
        nats = []
        for start in range(0, len(x), CHUNK):
            chunk = np.resize(x[start : start + CHUNK], (CHUNK, x.shape[1]))
            noise = stream(0, "score", start).standard_normal((CHUNK, self.latent), dtype=np.float32)
            nats.append(self._network(torch.from_numpy(chunk).to(device()), torch.from_numpy(noise).to(device())).cpu().numpy())
        return np.concatenate(nats)[: len(x)].astype(np.float64)

    def save(self, folder: Path) -> None:
        (folder / "shape.json").write_text(json.dumps(self._shape))
        save_file({name: value.cpu().contiguous() for name, value in self._network.state_dict().items()}, folder / "model.safetensors")

    def load(self, folder: Path) -> None:
        self._shape = tuple(json.loads((folder / "shape.json").read_text()))
        with seeded(0):
            self._network = Network(math.prod(self._shape), self.hidden, self.latent)
        self._network.load_state_dict(load_file(folder / "model.safetensors"))
        self._network.to(device()).eval()
