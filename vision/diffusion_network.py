"""Network, loss and denoising of `diffusion`. This module imports torch and diffusers, so `diffusion.py` imports it inside methods.

Images have the layout [n, c, h, w] and are stored with the channels last, which is faster on CPUs and GPUs.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DModel

from ..common.core import philox
from ..common.core.device import device
from ..common.core.errors import UserError

if TYPE_CHECKING:
    from .diffusion import Sampling

NUMBERS_AT_ONCE = 2**20
"""Normal numbers drawn in one call. Small batches draw the noise of many steps at once, because each call starts about 150 kernels."""


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
    network = UNet2DModel(
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
    return _channels_last(network)


def load_network(folder: Path) -> UNet2DModel:
    """Load a UNet from a folder that diffusers saved."""
    return _channels_last(UNet2DModel.from_pretrained(folder, use_safetensors=True, low_cpu_mem_usage=False))


def save_network(network: UNet2DModel, folder: Path) -> None:
    """Write a folder that diffusers can load. safetensors stores only contiguous weights."""
    network.to(memory_format=torch.contiguous_format)
    network.save_pretrained(folder)
    _channels_last(network)


def _channels_last(network: UNet2DModel) -> UNet2DModel:
    network.to(memory_format=torch.channels_last)
    return network


def predict_noise(network: UNet2DModel, x: torch.Tensor, times: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
    """Predict the noise in images x [n, c, h, w] at `times`, [n] or one number for all. Returns float32 in every precision.

    Training and sampling call the network only here.
    """
    predicted: torch.Tensor = network(x, times, class_labels=labels, return_dict=False)[0]
    return predicted.float()


class NoisePrediction:
    """Training loss of the UNet, the mean squared error of the predicted noise (Ho et al. 2020, eq. 14)."""

    def __init__(self, network: UNet2DModel, images: np.ndarray, labels: np.ndarray | None, *, noise_steps: int):
        """Copy the training data to the device. `images` is uint8 [n, h, w, c]; `labels` is int64 [n] or None."""
        self.network = network
        self.images = torch.from_numpy(images.copy()).to(device())
        self.labels = None if labels is None else torch.from_numpy(labels.copy()).to(device())
        self.noise_steps = noise_steps
        alphas = DDPMScheduler(num_train_timesteps=noise_steps).alphas_cumprod  # alpha-bar in the paper
        self.signal, self.noise = (root.to(device())[:, None, None, None] for root in (alphas.sqrt(), (1 - alphas).sqrt()))

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Compute the loss of a batch of rows. Noise and times are drawn on the device, with a seed from torch's random state.

        The device never waits for the host, nor the host for the device.
        """
        rows = rows.to(self.images.device, non_blocking=True)
        seed = int(torch.randint(2**62, (), device="cpu"))
        clean = self.images[rows].float() / 127.5 - 1  # [batch, h, w, c], as in pixels.to_unit
        batch = range(len(rows))
        noise = philox.normal(seed, steps=range(1), rows=batch, numbers=clean[0].numel(), device=rows.device).view(clean.shape)
        times = philox.integers(seed, self.noise_steps, step=1, rows=batch, device=rows.device)
        clean, noise = clean.permute(0, 3, 1, 2), noise.permute(0, 3, 1, 2)
        labels = None if self.labels is None else self.labels[rows]
        noisy = self.signal[times] * clean + self.noise[times] * noise  # Ho et al. 2020, eq. 4
        return torch.nn.functional.mse_loss(predict_noise(self.network, noisy, times, labels), noise)


def chunk_sizes(network: UNet2DModel) -> tuple[int, int]:
    """Choose the sizes of the smallest and the largest chunk in sampling: powers of two that depend on the network and the machine.

    A CPU is busy with few images. A GPU needs many, limited by its memory: about 64 activations of the widest level have to fit.
    """
    settings, device = network.config, network.device
    pixels = math.prod(settings.sample_size)
    if device.type == "cpu":
        largest = min(256, max(16, _power_of_two(2**16 // pixels)))
        return max(16, largest // 8), largest
    memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 8 * 2**30
    widest = max(pixels // 4**level * channels for level, channels in enumerate(settings.block_out_channels))
    largest = max(1, _power_of_two(min(1024, 2**19 // pixels, memory // (64 * widest * torch.float32.itemsize))))
    return min(128, largest), largest


def _power_of_two(number: int) -> int:
    """Return the largest power of two that is at most `number`, or 0."""
    return 1 << number.bit_length() >> 1


def denoise(
    network: UNet2DModel, labels: torch.Tensor | None, sampling: Sampling, *, rows: range, noise_steps: int, seed: int
) -> np.ndarray:
    """Draw the images `rows` of a sample. `labels` is int64 [len(rows)] on the device of the network, or None.

    Returns float32 [len(rows), h, w, c]; values are approximately in [-1, 1]. The noise of an image depends only on the seed, its row
    and the step, and is the same on all devices up to rounding.
    """
    settings = network.config
    shape = (len(rows), *settings.sample_size, settings.in_channels)
    draws = 1 + (sampling.steps if sampling.eta else 0)
    noise = (
        math.sqrt(sampling.variance_scale) * values.view(shape).permute(0, 3, 1, 2)
        for values in _noise(seed, rows=rows, steps=draws, numbers=math.prod(shape[1:]), where=network.device)
    )
    solver = _ddim(sampling, noise_steps) if sampling.solver == "ddim" else _dpm_solver(sampling, noise_steps)
    times = solver.times.to(network.device)
    x = next(noise)
    for step, time in enumerate(solver.times):
        predicted = predict_noise(network, x, times[step], labels)
        x = solver.update(predicted, time, x, next(noise) if sampling.eta else None)
    return np.asarray(x.permute(0, 2, 3, 1).cpu().numpy())


class _Solver(NamedTuple):
    """The times of a solver, int64 [steps] on the host, and its update of x from predicted noise, time, x and new noise."""

    times: torch.Tensor
    update: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]


def _ddim(sampling: Sampling, noise_steps: int) -> _Solver:
    """DDIM (Song et al. 2021, eq. 12). The predicted image is clipped to [-1, 1]."""
    schedule = DDIMScheduler(num_train_timesteps=noise_steps, clip_sample=True)
    schedule.set_timesteps(sampling.steps)

    def update(predicted: torch.Tensor, time: torch.Tensor, x: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
        following: torch.Tensor = schedule.step(predicted, time, x, eta=sampling.eta, variance_noise=noise, return_dict=False)[0]
        return following

    return _Solver(schedule.timesteps, update)


def _dpm_solver(sampling: Sampling, noise_steps: int) -> _Solver:
    """The second-order solver DPM-Solver++(2M) (Lu et al. 2022), for the SDE if `eta` is 1. The predicted image is clipped to [-1, 1]."""
    kind = "sde-dpmsolver++" if sampling.eta else "dpmsolver++"
    schedule = DPMSolverMultistepScheduler(num_train_timesteps=noise_steps, algorithm_type=kind, prediction_type="sample")
    # Even steps from the last time. The choices of diffusers repeat times if there are almost as many steps as times.
    times = [noise_steps - 1 - step * noise_steps // sampling.steps for step in range(sampling.steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # numpy's, about how diffusers converts a tensor
        schedule.set_timesteps(timesteps=times)

    def update(predicted: torch.Tensor, time: torch.Tensor, x: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
        alpha = schedule.alphas_cumprod[time]
        clean = ((x - (1 - alpha).sqrt() * predicted) / alpha.sqrt()).clamp(-1, 1)
        following: torch.Tensor = schedule.step(clean, time, x, variance_noise=noise, return_dict=False)[0]
        return following

    return _Solver(schedule.timesteps, update)


def _noise(seed: int, *, rows: range, steps: int, numbers: int, where: torch.device) -> Iterator[torch.Tensor]:
    """Yield standard normal numbers for each step, float32 [rows, numbers]."""
    group = max(1, NUMBERS_AT_ONCE // (len(rows) * numbers))
    for start in range(0, steps, group):
        yield from philox.normal(seed, steps=range(start, min(start + group, steps)), rows=rows, numbers=numbers, device=where)
