"""Network, loss and denoising of `diffusion`. This module imports torch and diffusers, so `diffusion.py` imports it inside methods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel

from ..common.core.device import device
from ..common.core.errors import UserError


def new_network(*, colours: int, height: int, width: int, channels: Sequence[int], layers: int, classes: int | None) -> UNet2DModel:
    """Build a UNet with random weights from torch's random state. With `classes` None, the UNet has no class input.

    Raises UserError if height or width cannot be halved once for each level after the first.
    """
    halvings = len(channels) - 1
    if height % 2**halvings or width % 2**halvings:
        raise UserError(
            f"generator.channels: {list(channels)} halves images {halvings} times, but {height} x {width} images do not allow it; "
            f"both sides must be multiples of {2**halvings}"
        )
    return UNet2DModel(
        sample_size=(height, width),
        in_channels=colours,
        out_channels=colours,
        block_out_channels=tuple(channels),
        layers_per_block=layers,
        norm_num_groups=8,
        num_class_embeds=classes,
        attention_head_dim=8,
        down_block_types=("DownBlock2D",) * halvings + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * halvings,
    )


def load_network(folder: Path) -> UNet2DModel:
    """Load a UNet from a folder that diffusers saved."""
    return UNet2DModel.from_pretrained(folder, use_safetensors=True, low_cpu_mem_usage=False)


class NoisePrediction:
    """Training loss of the UNet, the mean squared error of the predicted noise (Ho et al. 2020, eq. 14)."""

    def __init__(self, network: UNet2DModel, images: np.ndarray, labels: np.ndarray | None, *, noise_steps: int):
        """Store the training data. `images` is float32 [n, h, w, c] in [-1, 1]; `labels` is int64 [n] or None."""
        self.network = network
        self.images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(device())  # [n, c, h, w]
        self.labels = None if labels is None else torch.from_numpy(labels.copy()).to(device())
        self.noise_steps = noise_steps
        self.schedule = DDPMScheduler(num_train_timesteps=noise_steps)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Compute the loss of a batch of rows. Noise and time steps are drawn from torch's random state."""
        rows = rows.to(device())
        clean = self.images[rows]
        noise = torch.randn(clean.shape).to(device())
        times = torch.randint(self.noise_steps, (len(rows),)).to(device())
        labels = None if self.labels is None else self.labels[rows]
        predicted = self.network(self.schedule.add_noise(clean, noise, times), times, class_labels=labels).sample
        return torch.nn.functional.mse_loss(predicted, noise)


def denoise(
    network: UNet2DModel,
    labels: np.ndarray | None,
    *,
    images: int,
    noise_steps: int,
    steps: int,
    eta: float,
    variance_scale: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw images with DDIM. Returns float32 [images, h, w, c]; values are approximately in [-1, 1]."""
    settings = network.config
    shape = (images, settings.in_channels, *settings.sample_size)

    def noise() -> torch.Tensor:
        return math.sqrt(variance_scale) * torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)).to(device())

    classes = None if labels is None else torch.from_numpy(labels).to(device())
    schedule = DDIMScheduler(num_train_timesteps=noise_steps, clip_sample=True)
    schedule.set_timesteps(steps)
    x = noise()
    for time in schedule.timesteps:
        predicted = network(x, time.to(device()), class_labels=classes).sample
        x = schedule.step(predicted, time, x, eta=eta, variance_noise=noise()).prev_sample
    return x.permute(0, 2, 3, 1).cpu().numpy()
