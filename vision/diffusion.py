"""The generator `diffusion`, a small diffusers UNet. It is trained to predict noise and sampled with DDIM."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..common.components.generator import FitResult
from ..common.core.pool import Pool
from ..common.core.random_streams import derive
from ..common.training.settings import Training
from .chunks import sample_in_chunks
from .labels import draw_labels, fitted_shares, shares_from_json, shares_to_json
from .pixels import from_unit, to_unit
from .watermark import Pattern, detect_pattern

if TYPE_CHECKING:
    from diffusers import UNet2DModel

CHUNK = 128
"""Number of images per denoising batch."""


@dataclass(frozen=True)
class Sampling:
    """Sampling settings for DDIM (Song et al. 2021)."""

    steps: Annotated[int, Field(ge=1)] = 50
    """Number of denoising steps, at most `noise_steps`."""
    eta: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Amount of noise added in each step: 0 adds no noise, 1 adds the noise of DDPM (Song et al. 2021, eq. 16)."""
    variance_scale: Annotated[float, Field(ge=0)] = 1.0
    """Factor lambda for the variance of all noise, including the initial noise. Below 1, samples concentrate near the mode."""
    watermark: Pattern | None = None
    """Watermark (a keyed pattern) that is added to every generated image. None: no watermark."""


@dataclass
class Diffusion:
    """A denoising diffusion model, DDPM (Ho et al. 2020). The sides of images must be divisible by 2^(levels - 1).

    If rows have labels, the UNet is conditioned on them. In sampling, labels are drawn from the class shares of the training pool.
    """

    training: Training
    channels: tuple[Annotated[int, Field(ge=8)], ...] = (32, 64)
    """Channels of each UNet level, in multiples of 8. Each level halves the width and height of the previous level."""
    layers: Annotated[int, Field(ge=1)] = 1
    """Number of residual blocks per level."""
    noise_steps: Annotated[int, Field(ge=2)] = 1000
    """Number of steps of the noising process."""
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
        self._network: UNet2DModel | None = None
        self._class_shares: np.ndarray | None = None

    @property
    def network(self) -> UNet2DModel:
        """The UNet that predicts noise. Set by `fit` and `load`."""
        if self._network is None:
            raise ValueError("this model has no network yet; call `fit` or `load` first")
        return self._network

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        from ..common.core.device import device, seeded
        from ..common.training.trainer import train
        from .diffusion_network import NoisePrediction

        self._class_shares = fitted_shares(pool, classes=self.classes, previous=self._class_shares)
        images = pool.array("image")
        network = self._network
        if network is None or fresh:
            with seeded(derive(seed, "weights")):
                network = self._new_network(images)
        self._network = network.to(device())
        labels = None if self._class_shares is None else pool.array("label")
        loss = NoisePrediction(network, to_unit(images), labels, noise_steps=self.noise_steps)
        result = train(network, loss, rows=len(pool), training=self.training, seed=derive(seed, "train"), scratch=scratch)
        return FitResult("images", result.visit_counts, np.ones(len(pool)), result.steps, {"loss": result.loss})

    def _new_network(self, images: np.ndarray) -> UNet2DModel:
        from .diffusion_network import new_network

        _, height, width, colours = images.shape
        classes = None if self._class_shares is None else len(self._class_shares)
        return new_network(
            colours=colours, height=height, width=width, channels=self.channels, layers=self.layers, classes=classes
        )  # fmt: skip

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        import torch

        with torch.inference_mode():
            return sample_in_chunks(self._draw_chunk, n, size=CHUNK, seed=seed, watermark=self.sampling.watermark)

    def _draw_chunk(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """Draw one chunk. Returns images, uint8 [CHUNK, h, w, c], and labels, int64 [CHUNK] or None."""
        from .diffusion_network import denoise

        labels = draw_labels(self._class_shares, rows=CHUNK, rng=rng)
        x = denoise(
            self.network,
            labels,
            images=CHUNK,
            noise_steps=self.noise_steps,
            steps=self.sampling.steps,
            eta=self.sampling.eta,
            variance_scale=self.sampling.variance_scale,
            rng=rng,
        )
        return from_unit(x), labels

    def detect(self, pool: Pool) -> np.ndarray:
        """Return the z-score of the watermark in `sampling` for each image, float64 [n]."""
        return detect_pattern(pool, self.sampling.watermark)

    def save(self, folder: Path) -> None:
        """Write a folder that diffusers can load. The class shares are in a separate file, `class_shares.json`."""
        (folder / "class_shares.json").write_text(json.dumps(shares_to_json(self._class_shares)))
        self.network.save_pretrained(folder)

    def load(self, folder: Path) -> None:
        from ..common.core.device import device, seeded
        from .diffusion_network import load_network

        self._class_shares = shares_from_json(json.loads((folder / "class_shares.json").read_text()))
        with seeded(0):  # diffusers draws random weights before it reads the saved weights
            network = load_network(folder)
        self._network = network.to(device()).eval()
