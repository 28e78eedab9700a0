"""The generator `diffusion`, a small diffusers UNet. It is trained to predict noise."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from ..common.components.generator import FitResult
from ..common.core.pool import Pool
from ..common.core.random_streams import derive, stream
from ..common.training.settings import Training
from .chunks import growing_chunks, pool_of
from .labels import draw_labels, fitted_shares, shares_from_json, shares_to_json
from .pixels import from_unit
from .watermark import Pattern, detect_pattern

if TYPE_CHECKING:
    from diffusers import UNet2DModel


@dataclass(frozen=True)
class Sampling:
    """Sampling settings of `diffusion`."""

    solver: Literal["dpm-solver++", "ddim"] = "dpm-solver++"
    """DPM-Solver++ (Lu et al. 2022), or DDIM (Song et al. 2021), which needs about 50 steps."""
    steps: Annotated[int, Field(ge=1)] = 20
    """Number of denoising steps, at most `noise_steps`."""
    eta: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Amount of noise added in each step: 0 adds no noise, 1 the noise of DDPM (Song et al. 2021, eq. 16). DPM-Solver++: 0 or 1."""
    variance_scale: Annotated[float, Field(ge=0)] = 1.0
    """Factor lambda for the variance of all noise, including the initial noise. Below 1, samples concentrate near the mode."""
    watermark: Pattern | None = None
    """Watermark (a keyed pattern) that is added to every generated image. None: no watermark."""

    def __post_init__(self) -> None:
        if self.solver == "dpm-solver++" and self.eta not in (0, 1):
            raise ValueError(f"eta: {self.eta:g} is not possible with dpm-solver++, whose eta is 0 or 1; use `solver: ddim`")


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
    version: ClassVar[int] = 3
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
        loss = NoisePrediction(network, images, labels, noise_steps=self.noise_steps)
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

        from ..common.core.device import compute_in
        from .diffusion_network import chunk_sizes, denoise

        network, sampling = self.network, self.sampling
        smallest, largest = chunk_sizes(network)
        chunks = list(growing_chunks(n, smallest=smallest, largest=largest))
        labels = draw_labels(self._class_shares, rows=chunks[-1].stop, rng=stream(seed, "labels"))
        on_device = None if labels is None else torch.from_numpy(labels).to(network.device)
        with torch.inference_mode(), compute_in(self.training.precision):
            images = [
                denoise(
                    network,
                    None if on_device is None else on_device[rows.start : rows.stop],
                    sampling,
                    rows=rows,
                    noise_steps=self.noise_steps,
                    seed=derive(seed, "noise"),
                )
                for rows in chunks
            ]
        return pool_of([from_unit(x) for x in images], labels, n=n, watermark=sampling.watermark)

    def detect(self, pool: Pool) -> np.ndarray:
        """Return the z-score of the watermark in `sampling` for each image, float64 [n]."""
        return detect_pattern(pool, self.sampling.watermark)

    def save(self, folder: Path) -> None:
        """Write a folder that diffusers can load. The class shares are in a separate file, `class_shares.json`."""
        from .diffusion_network import save_network

        (folder / "class_shares.json").write_text(json.dumps(shares_to_json(self._class_shares)))
        save_network(self.network, folder)

    def load(self, folder: Path) -> None:
        from ..common.core.device import device, seeded
        from .diffusion_network import load_network

        self._class_shares = shares_from_json(json.loads((folder / "class_shares.json").read_text()))
        with seeded(0):  # diffusers draws random weights before it reads the saved weights
            network = load_network(folder)
        self._network = network.to(device()).eval()
