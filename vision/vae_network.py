"""The network of `vae`. It imports torch, so `vae.py` imports this module inside methods."""

from __future__ import annotations

import math

import torch
from torch import nn


class Network(nn.Module):
    """Encoder and decoder with two hidden layers each, on flattened images in [-1, 1]. Both also receive the class, one-hot."""

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
        """Negative evidence lower bound of each row in nats, [n], with one latent draw (Kingma & Welling 2014, eq. 3).

        x: images [n, pixels]. one_hot: classes [n, classes]; without classes it has no columns. noise: standard normal [n, latent].

        The decoder is N(mean, sigma^2) with one learned sigma for all pixels, so that no weight between the two terms has to be
        chosen (Rybkin et al. 2021).
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
        """ln sigma, at least one grey level of 255. A density narrower than the distance of two grey levels has no meaning."""
        return self.log_sigma.clamp(min=math.log(2 / 255))
