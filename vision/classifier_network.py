"""Network of the feature model `classifier`. This module imports torch, so `features.py` imports it inside methods."""

from __future__ import annotations

import torch
from torch import nn


class Convolutions(nn.Module):
    """A small convolutional classifier: `body` (two convolutions and a feature layer) and `head` (a linear layer for class scores)."""

    def __init__(self, colours: int, height: int, width: int, features: int, classes: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(colours, 32, 3, padding=1), nn.SiLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.SiLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
            nn.Linear(64 * 16, features), nn.SiLU(),
        )  # fmt: skip
        self.head = nn.Linear(features, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return class scores [n, classes] for images [n, colours, height, width]."""
        return self.head(self.body(x))
