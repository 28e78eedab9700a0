"""The generator `vae`, a variational autoencoder with a Gaussian decoder of learned variance, small enough for a laptop."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..common.components.generator import FitResult
from ..common.core.pool import Pool
from ..common.core.random_streams import derive, stream
from ..common.training.settings import Training
from .chunks import sample_in_chunks
from .labels import count_of, draw_labels, fitted_shares, one_hot, shares_from_json, shares_to_json
from .pixels import from_unit, to_unit
from .watermark import Pattern, detect_pattern

if TYPE_CHECKING:
    import torch

    from .vae_network import Network

CHUNK = 512
"""Number of images per chunk in sampling and scoring."""


@dataclass(frozen=True)
class Sampling:
    """Sampling settings of `vae`."""

    variance_scale: Annotated[float, Field(ge=0)] = 1.0
    """Factor lambda for the variance of the latent noise. Below 1, samples concentrate near the mode, as with truncation."""
    pixel_noise: bool = False
    """True: draw pixels from the decoder's distribution. False: use the mean of this distribution, which is usual for images."""
    watermark: Pattern | None = None
    """Watermark (a keyed pattern) that is added to every generated image. None: no watermark."""


@dataclass
class VAE:
    """A variational autoencoder (VAE) for images of any size and number of channels (Kingma & Welling 2014).

    If rows have labels, the model is a conditional VAE (Sohn et al. 2015). In sampling, labels are drawn from the class shares of the
    training pool.
    """

    training: Training
    latent: Annotated[int, Field(ge=1)] = 16
    """Number of dimensions of the latent space."""
    hidden: Annotated[int, Field(ge=1)] = 256
    """Number of units in each hidden layer."""
    sampling: Sampling = field(default_factory=Sampling)
    version: ClassVar[int] = 2
    modality: ClassVar[str] = "vision"
    columns: ClassVar[tuple[str, ...]] = ("image",)
    conditional: ClassVar[bool] = True
    classes: ClassVar[int] = 0

    def __post_init__(self) -> None:
        self._network: Network | None = None
        self._image_shape: tuple[int, ...] = ()  # height, width, channels
        self._class_shares: np.ndarray | None = None

    @property
    def network(self) -> Network:
        """The network with encoder and decoder. Set by `fit` and `load`."""
        if self._network is None:
            raise ValueError("this model has no network yet; call `fit` or `load` first")
        return self._network

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        import torch

        from ..common.core.device import device, seeded
        from ..common.training.trainer import train

        self._class_shares = fitted_shares(pool, classes=self.classes, previous=self._class_shares)
        x, classes = self._tensors(pool)
        network = self._network
        if network is None or fresh:
            self._image_shape = pool.array("image").shape[1:]
            with seeded(derive(seed, "weights")):
                network = self._new_network()
        self._network = network.to(device())

        def loss(rows: torch.Tensor) -> torch.Tensor:
            noise = torch.randn(len(rows), self.latent).to(x.device, non_blocking=True)  # waiting for a copy would stop the GPU
            rows = rows.to(x.device, non_blocking=True)
            return network(x[rows], classes[rows], noise).mean() / x.shape[1]  # nats per pixel

        result = train(network, loss, rows=len(pool), training=self.training, seed=derive(seed, "train"), scratch=scratch)
        return FitResult("images", result.visit_counts, np.ones(len(x)), result.steps, {"loss": result.loss})

    def _new_network(self) -> Network:
        from .vae_network import Network

        return Network(math.prod(self._image_shape), self.hidden, self.latent, count_of(self._class_shares))

    def _tensors(self, pool: Pool) -> tuple[torch.Tensor, torch.Tensor]:
        """Convert a pool to tensors on the device: images, float32 [n, pixels] in [-1, 1], and one-hot classes, float32 [n, classes]."""
        import torch

        from ..common.core.device import device

        labels = pool.array("label") if self._class_shares is not None else None
        classes = one_hot(labels, rows=len(pool), classes=count_of(self._class_shares))
        return torch.from_numpy(to_unit(pool.array("image"))).flatten(1).to(device()), torch.from_numpy(classes).to(device())

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        import torch

        from ..common.core.device import compute_in

        with torch.inference_mode(), compute_in(self.training.precision):
            return sample_in_chunks(self._draw_chunk, n, size=CHUNK, seed=seed, watermark=self.sampling.watermark)

    def _draw_chunk(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """Draw one chunk. Returns images, uint8 [CHUNK, h, w, c], and labels, int64 [CHUNK] or None."""
        import torch

        from ..common.core.device import device

        z = math.sqrt(self.sampling.variance_scale) * rng.standard_normal((CHUNK, self.latent), dtype=np.float32)
        labels = draw_labels(self._class_shares, rows=CHUNK, rng=rng)
        classes = one_hot(labels, rows=CHUNK, classes=count_of(self._class_shares))
        network = self.network
        x = network.decoder(torch.from_numpy(np.hstack([z, classes])).to(device())).float().cpu().numpy()
        if self.sampling.pixel_noise:
            x = x + float(network.noise_level.exp()) * rng.standard_normal(x.shape, dtype=np.float32)
        return from_unit(x).reshape(CHUNK, *self._image_shape), labels

    def detect(self, pool: Pool) -> np.ndarray:
        """Return the z-score of the watermark in `sampling` for each image, float64 [n]."""
        return detect_pattern(pool, self.sampling.watermark)

    def score(self, pool: Pool) -> np.ndarray:
        """Compute the negative evidence lower bound (ELBO) of each image in nats, float64 [n].

        Pixels are scaled to [-1, 1]. The estimate uses one latent draw per image.
        """
        import torch

        from ..common.core.device import compute_in, device

        nats = []
        with torch.inference_mode(), compute_in(self.training.precision):
            for start in range(0, len(pool), CHUNK):
                rows = np.resize(np.arange(start, min(start + CHUNK, len(pool))), CHUNK)  # chunks of constant size, as in sampling
                noise = stream(0, "score", start).standard_normal((CHUNK, self.latent), dtype=np.float32)
                nats.append(self.network(*self._tensors(pool.take(rows)), torch.from_numpy(noise).to(device())).float().cpu().numpy())
        return np.concatenate(nats)[: len(pool)].astype(np.float64)

    def save(self, folder: Path) -> None:
        from safetensors.torch import save_file

        about = {"shape": self._image_shape, "class_shares": shares_to_json(self._class_shares)}
        (folder / "about.json").write_text(json.dumps(about))
        save_file({name: value.cpu().contiguous() for name, value in self.network.state_dict().items()}, folder / "model.safetensors")

    def load(self, folder: Path) -> None:
        from safetensors.torch import load_file

        from ..common.core.device import device, seeded

        about = json.loads((folder / "about.json").read_text())
        self._image_shape, self._class_shares = tuple(about["shape"]), shares_from_json(about["class_shares"])
        with seeded(0):
            network = self._new_network()
        network.load_state_dict(load_file(folder / "model.safetensors"))
        self._network = network.to(device()).eval()
