"""Rows `diffusion-fit` and `diffusion-sampling`: a UNet trained and sampled here, in plain loops and with `DDIMPipeline`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .row import Cost, Rival, Row, Task

if TYPE_CHECKING:
    import torch
    from autophagy.common.core.device import Precision
    from autophagy.vision.diffusion import Diffusion


@dataclass(frozen=True)
class Images:
    """A diffusion model, and the size of the work."""

    channels: tuple[int, ...]
    layers: int
    side: int
    batch: int
    """Images per training step, and images sampled at once."""
    steps: int
    """Training steps."""
    denoising_steps: int = 50
    """Denoising steps in sampling."""
    precision: Precision = "float32"


SMALL = Images((32, 64), layers=1, side=16, batch=64, steps=15)
"""0.9 million weights."""
LARGE = Images((128, 256, 256), layers=2, side=32, batch=128, steps=60)
"""26 million weights."""
TINY = Images((8, 16), layers=1, side=8, batch=2, steps=2, denoising_steps=2)


# ---- files: a model, and images ------------------------------------------------------------------------------------------


def write_files(images: Images, folder: Path) -> None:
    """Write a model after one training step to `model/`, and noise images, uint8 [n, side, side, 3], to `images.npy`."""
    from autophagy.common.core.pool import Pool

    pixels = np.random.default_rng(0).integers(0, 256, (images.batch * images.steps, images.side, images.side, 3), dtype=np.uint8)
    np.save(folder / "images.npy", pixels)
    model = diffusion(replace(images, steps=1))
    model.fit(Pool.of(image=pixels[: images.batch]), seed=0, scratch=folder)
    (folder / "model").mkdir()
    model.save(folder / "model")


def diffusion(images: Images) -> Diffusion:
    """Return the generator of this package."""
    from autophagy.common.training.settings import Training
    from autophagy.vision.diffusion import Diffusion, Sampling

    training = Training(steps=images.steps, batch=images.batch, precision=images.precision)
    sampling = Sampling(solver="ddim", steps=images.denoising_steps)  # the method of the rival
    return Diffusion(training=training, channels=images.channels, layers=images.layers, sampling=sampling)


def load_network(folder: Path) -> Any:
    """Load the UNet with diffusers, onto the device of the benchmark."""
    from autophagy.common.core.device import device
    from diffusers import UNet2DModel

    return UNet2DModel.from_pretrained(folder / "model", low_cpu_mem_usage=False).to(device())


# ---- training -----------------------------------------------------------------------------------------------------


def fit(images: Images, folder: Path) -> Task:
    from autophagy.common.core.pool import Pool

    model = diffusion(images)
    model.load(folder / "model")
    pool = Pool.of(image=np.load(folder / "images.npy"))
    return Task(lambda: model.fit(pool, seed=0, scratch=folder), lambda result: result.consumed.sum())


def plain_loop(images: Images, folder: Path, *, optimized: bool = False) -> Task:
    network, pixels = load_network(folder), np.load(folder / "images.npy")
    if not optimized:
        return Task(lambda: train_as_in_example(images, network, pixels), float)
    import torch

    network.to(memory_format=torch.channels_last)
    forward = torch.compile(network)
    return Task(lambda: train_as_in_example(images, network, pixels, optimized=forward), float)


def train_as_in_example(images: Images, network: Any, pixels: np.ndarray, *, optimized: Any = None) -> int:
    """Train with the loop of the diffusers example for unconditional training. Returns the number of images.

    optimized: the compiled network in channels-last format. It computes in bfloat16, and losses are not logged.
    """
    import torch
    from diffusers import DDPMScheduler
    from diffusers.optimization import get_scheduler

    device, noise_schedule = network.device, DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6)
    schedule = get_scheduler("cosine", optimizer, num_warmup_steps=images.steps // 20, num_training_steps=images.steps)
    network.train()
    for clean in islice(batches(pixels, images.batch, device), images.steps):
        noise = torch.randn_like(clean)
        times = torch.randint(0, 1000, (len(clean),), device=device)
        noisy = noise_schedule.add_noise(clean, noise, times)
        if optimized is None:
            predicted = network(noisy, times).sample
        else:
            with torch.autocast(device.type, torch.bfloat16):
                predicted = optimized(noisy.to(memory_format=torch.channels_last), times).sample
        loss = torch.nn.functional.mse_loss(predicted.float(), noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if optimized is None:
            loss.detach().item()  # the example logs every loss
    return images.batch * images.steps


def batches(pixels: np.ndarray, size: int, device: torch.device) -> Iterator[torch.Tensor]:
    """Yield shuffled batches on the device, epoch after epoch. `pixels` is uint8 [n, side, side, 3]."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    loader = DataLoader(TensorDataset(images), size, shuffle=True, drop_last=True, pin_memory=device.type == "cuda")
    while True:
        for (batch,) in loader:
            yield batch.to(device, non_blocking=True)


# ---- sampling -----------------------------------------------------------------------------------------------------


def sample(images: Images, folder: Path) -> Task:
    model = diffusion(images)
    model.load(folder / "model")
    return Task(lambda: model.sample(images.batch, seed=0).array("image"), len)


def pipeline(images: Images, folder: Path, *, precision: str = "float32") -> Task:
    network = load_network(folder).eval()
    return Task(lambda: draw_with_pipeline(images, network, precision=precision), len)


def draw_with_pipeline(images: Images, network: Any, *, precision: str = "float32") -> np.ndarray:
    """Draw with `DDIMPipeline` of diffusers. It returns arrays here, which is faster than its default (PIL images)."""
    import torch
    from diffusers import DDIMPipeline, DDIMScheduler

    pipe = DDIMPipeline(unet=network, scheduler=DDIMScheduler(num_train_timesteps=1000))
    pipe.set_progress_bar_config(disable=True)
    with torch.autocast(network.device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext():
        drawn = pipe(batch_size=images.batch, num_inference_steps=images.denoising_steps, output_type="np").images
    return (drawn * 255).round().astype(np.uint8)


# ---- cost per image -----------------------------------------------------------------------------------------------


def forward_operations(images: Images) -> float:
    """Count multiplications and additions of a forward pass per image."""
    import torch
    from autophagy.vision.diffusion_network import new_network
    from torch.utils.flop_counter import FlopCounterMode

    side, colours = images.side, 3
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        network = new_network(
            colours=colours, height=side, width=side, channels=images.channels, layers=images.layers, classes=None
        )  # fmt: skip
        network(torch.zeros(1, colours, side, side), torch.zeros(1))
    return float(counter.get_total_flops())


def fit_cost(images: Images) -> Cost:
    """Count a forward pass, and a backward pass that costs twice as much."""
    return Cost(3 * forward_operations(images), precision=images.precision)


def sampling_cost(images: Images) -> Cost:
    return Cost(images.denoising_steps * forward_operations(images), precision=images.precision)


# ---- rows ---------------------------------------------------------------------------------------------------------


def fit_row(images: Images, case: str, *rivals: Rival, device: str = "cpu") -> Row:
    return Row("diffusion-fit", case, "images/s", fit, images, TINY, rivals, write_files, cost=fit_cost, device=device)


def sampling_row(images: Images, case: str, *rivals: Rival, device: str = "cpu") -> Row:
    return Row("diffusion-sampling", case, "images/s", sample, images, TINY, rivals, write_files, cost=sampling_cost, device=device)


LARGE_BFLOAT16 = replace(LARGE, precision="bfloat16")
ROWS = (
    fit_row(SMALL, "16x16, batch 64", Rival("plain loop", plain_loop)),
    sampling_row(SMALL, "16x16, 64 images", Rival("DDIMPipeline", pipeline)),
    fit_row(
        LARGE_BFLOAT16,
        "bfloat16, 32x32, batch 128",
        Rival("plain loop, bfloat16, channels-last, compiled", partial(plain_loop, optimized=True), 1),
        Rival("plain loop (float32)", plain_loop, 1.5),
        device="cuda",
    ),
    fit_row(LARGE, "float32, 32x32, batch 128", Rival("plain loop, float32", plain_loop), device="cuda"),
    sampling_row(
        LARGE_BFLOAT16,
        "bfloat16, 32x32, 128 images",
        Rival("DDIMPipeline, bfloat16", partial(pipeline, precision="bfloat16"), 1.5),
        device="cuda",
    ),
    sampling_row(LARGE, "float32, 32x32, 128 images", Rival("DDIMPipeline, float32", pipeline), device="cuda"),
)
