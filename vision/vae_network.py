"""Network of `vae`. This module imports torch, so `vae.py` imports it inside methods."""

from __future__ import annotations

import math

import torch
from torch import nn


class Network(nn.Module):
    """Encoder and decoder for flattened images in [-1, 1], each with two hidden layers. Both also receive the one-hot class."""

    def __init__(self, pixels: int, hidden: int, latent: int, classes: int):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(pixels + classes, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 2 * latent)
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(latent + classes, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, pixels), nn.Tanh()
        )  # fmt: skip
        self.log_sigma = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor, one_hot: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Compute the negative evidence lower bound (ELBO) of each row in nats, [n] (Kingma & Welling 2014, eq. 3).

        Arguments: `x`, images [n, pixels]; `one_hot`, classes [n, classes], or [n, 0] without classes; `noise`, standard normal
        [n, latent], the latent draw.

        The decoder is N(mean, sigma^2) with one learned sigma for all pixels. Therefore the reconstruction and divergence terms need no
        weight (Rybkin et al. 2021).
        """
        mean, log_variance = self.encoder(torch.cat([x, one_hot], dim=1)).chunk(2, dim=1)  # [n, latent]
        z = mean + torch.exp(0.5 * log_variance) * noise
        log_sigma = self.noise_level
        errors = ((x - self.decoder(torch.cat([z, one_hot], dim=1))) / log_sigma.exp()) ** 2
        reconstruction = (0.5 * errors + log_sigma + 0.5 * math.log(2 * math.pi)).sum(1)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
        return reconstruction + divergence

    @property
    def noise_level(self) -> torch.Tensor:
        """ln sigma of the decoder, where sigma is at least one grey level (2/255). A narrower density has no meaning for 8-bit images."""
        return self.log_sigma.clamp(min=math.log(2 / 255))
