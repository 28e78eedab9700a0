"""`diffusion`: a small diffusers UNet trained to predict noise, sampled with DDIM."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
from pydantic import Field

from ..common.components.generator import FitResult
from ..common.core.errors import UserError
from ..common.core.pool import Pool
from ..common.core.random_streams import derive, stream
from ..common.training.trainer import Training, device, seeded, train
from .labels import labelled, shares_of
from .pixels import from_unit, to_unit
from .watermark import Pattern, marked

CHUNK = 128
"""Images denoised at once. A constant, and short chunks are filled up: an image's bits never depend on its company."""


@dataclass(frozen=True)
class Sampling:
    """`steps` of DDIM; `eta` 0 is deterministic given the first noise, 1 is as noisy as DDPM (Song et al. 2021, eq. 16).

    `variance_scale` (lambda) multiplies the variance of all noise that goes in; below 1, samples crowd around the mode.
    """

    steps: Annotated[int, Field(ge=1)] = 50
    eta: Annotated[float, Field(ge=0, le=1)] = 1.0
    variance_scale: Annotated[float, Field(ge=0)] = 1.0
    watermark: Pattern | None = None
    """A keyed pattern that is added to every image."""


@dataclass
class Diffusion:
    """A denoising diffusion model (Ho et al. 2020) over images whose sides the UNet can halve len(channels) - 1 times.

    Where rows have labels the UNet is told them; a label is drawn from the shares of the pool it was fitted to.
    """

    training: Training
    channels: tuple[Annotated[int, Field(ge=8)], ...] = (32, 64)
    """Channels of the UNet's levels, each half as wide as the one before."""
    layers: Annotated[int, Field(ge=1)] = 1
    noise_steps: Annotated[int, Field(ge=2)] = 1000
    sampling: Sampling = field(default_factory=Sampling)
    version: ClassVar[int] = 2
    modality: ClassVar[str] = "vision"
    columns: ClassVar[tuple[str, ...]] = ("image",)
    conditional: ClassVar[bool] = True
    classes: ClassVar[int] = 0

    def __post_init__(self) -> None:
        if any(count % 8 for count in self.channels):
            raise ValueError(f"channels: {list(self.channels)} must be multiples of 8, the size of a normalisation group")
        if self.sampling.steps > self.noise_steps:
            raise ValueError(f"sampling.steps: {self.sampling.steps} is more than noise_steps = {self.noise_steps}")
        self._network: Any = None
        self._shares: np.ndarray | None = None

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        x = torch.from_numpy(to_unit(pool.array("image"))).permute(0, 3, 1, 2).contiguous().to(device())  # [n, c, h, w]
        self._shares = shares_of(pool, classes=max(self.classes, 0 if self._shares is None else len(self._shares)))
        labels = torch.from_numpy(pool.array("label").copy()).to(device()) if self._shares is not None else None
        with seeded(derive(seed, "weights")):
            if self._network is None or fresh:
                self._network = self._build(*x.shape[1:])
        self._network.to(device())
        schedule = DDPMScheduler(num_train_timesteps=self.noise_steps)

        def loss(rows: torch.Tensor) -> torch.Tensor:
            rows = rows.to(device())
            clean = x[rows]
            noise = torch.randn(clean.shape).to(device())
            times = torch.randint(self.noise_steps, (len(rows),)).to(device())
            told = None if labels is None else labels[rows]
            predicted = self._network(schedule.add_noise(clean, noise, times), times, class_labels=told).sample
            return torch.nn.functional.mse_loss(predicted, noise)  # Ho et al. 2020, eq. 14

        done = train(self._network, loss, rows=len(pool), training=self.training, seed=derive(seed, "train"), scratch=scratch)
        return FitResult("images", done.visit_counts, np.ones(len(x)), done.steps, {"loss": done.loss})

    def _build(self, colours: int, height: int, width: int) -> UNet2DModel:
        halvings = len(self.channels) - 1
        if height % 2**halvings or width % 2**halvings:
            raise UserError(f"images of {height} x {width} cannot be halved {halvings} times, as channels = {list(self.channels)} asks")
        return UNet2DModel(
            sample_size=(height, width),
            in_channels=colours,
            out_channels=colours,
            block_out_channels=self.channels,
            layers_per_block=self.layers,
            norm_num_groups=8,
            num_class_embeds=None if self._shares is None else len(self._shares),
            attention_head_dim=8,
            down_block_types=("DownBlock2D",) * halvings + ("AttnDownBlock2D",),
            up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * halvings,
        )

    @torch.inference_mode()
    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        settings = self._network.config
        shape = (CHUNK, settings.in_channels, *settings.sample_size)
        schedule = DDIMScheduler(num_train_timesteps=self.noise_steps, clip_sample=True)
        schedule.set_timesteps(self.sampling.steps)
        chunks, labels = [], []
        for start in range(0, n, CHUNK):
            rng = stream(seed, "chunk", start)
            if self._shares is not None:
                labels.append(rng.choice(len(self._shares), size=CHUNK, p=self._shares))
            told = torch.from_numpy(labels[-1]).to(device()) if labels else None
            x = self._noise(rng, shape)
            for time in schedule.timesteps:
                predicted = self._network(x, time.to(device()), class_labels=told).sample
                x = schedule.step(predicted, time, x, eta=self.sampling.eta, variance_noise=self._noise(rng, shape)).prev_sample
            chunks.append(from_unit(x.permute(0, 2, 3, 1).cpu().numpy()))
        images = marked(np.concatenate(chunks)[:n], self.sampling.watermark)
        return labelled(images, np.concatenate(labels)[:n] if labels else None)

    def _noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> torch.Tensor:
        return math.sqrt(self.sampling.variance_scale) * torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)).to(device())

    def detect(self, pool: Pool) -> np.ndarray:
        """z of the keyed pattern of `sampling` in each image, float64 [n]."""
        return self.sampling.watermark.z(pool.array("image"))

    def save(self, folder: Path) -> None:
        """A folder that diffusers itself can load, and the class shares beside it."""
        (folder / "class_shares.json").write_text(json.dumps(None if self._shares is None else self._shares.tolist()))
        self._network.save_pretrained(folder)

    def load(self, folder: Path) -> None:
        shares = json.loads((folder / "class_shares.json").read_text())
        self._shares = None if shares is None else np.array(shares)
        with seeded(0):
            self._network = UNet2DModel.from_pretrained(folder, use_safetensors=True, low_cpu_mem_usage=False)
        self._network.to(device()).eval()
