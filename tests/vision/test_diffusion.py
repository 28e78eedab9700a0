"""The diffusion model: noise, loss, solvers, chunks and precision."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from autophagy.common.config.registry import ComponentSpec
from autophagy.common.core.errors import UserError
from autophagy.common.core.pool import Pool
from autophagy.vision import diffusion_network
from autophagy.vision.chunks import growing_chunks
from autophagy.vision.diffusion import Sampling
from support.tiny import TINY_DIFFUSION, small_pool

SIGMA = 0.2
"""Standard deviation of the pixels that `GaussianPixels` generates."""


class GaussianPixels:
    """A network without weights that predicts the noise exactly if all pixels are independent N(0, SIGMA^2)."""

    def __init__(self, size: int = 4):
        import torch
        from diffusers import DDPMScheduler

        self.alphas = DDPMScheduler(1000).alphas_cumprod
        self.device = torch.device("cpu")
        self.config = SimpleNamespace(sample_size=(size, size), in_channels=1, block_out_channels=(8,))

    def __call__(self, x, times, class_labels=None, return_dict=True):
        alpha = self.alphas[times].reshape(-1, 1, 1, 1)
        return ((1 - alpha).sqrt() * x / (alpha * SIGMA**2 + 1 - alpha),)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    model = ComponentSpec.parse("generator", TINY_DIFFUSION).build()
    model.fit(small_pool("vision"), seed=0, scratch=tmp_path_factory.mktemp("scratch"))
    return model


def denoise(network, rows, *, noise_steps=1000, **settings):
    import torch

    labels = torch.zeros(len(rows), dtype=torch.int64)
    with torch.inference_mode():
        return diffusion_network.denoise(network, labels, Sampling(**settings), rows=rows, noise_steps=noise_steps, seed=0)


def test_diffusion_rejects_images_that_it_cannot_halve(tmp_path):
    model = ComponentSpec.parse("generator", TINY_DIFFUSION).build()
    with pytest.raises(UserError, match=r"generator.channels: \[8, 16\] halves images 1 times, but 7 x 8 images do not allow it"):
        model.fit(Pool.of(image=np.zeros((4, 7, 8, 1), np.uint8)), seed=0, scratch=tmp_path)


def test_chunk_of_a_row_does_not_depend_on_the_number_of_rows():
    every = list(growing_chunks(500, smallest=16, largest=128))
    assert [len(rows) for rows in every] == [16, 16, 32, 64, 128, 128, 128]
    for n in range(1, 500):
        chunks = list(growing_chunks(n, smallest=16, largest=128))
        assert chunks == every[: len(chunks)]
        assert chunks[-1].start < n <= chunks[-1].stop, "no chunk without a row, and a chunk for each row"


def test_a_row_has_the_same_bits_for_every_number_of_rows(fitted):
    every = fitted.sample(70, seed=2)
    for n in (1, 31, 32, 33, 64, 65):
        assert fitted.sample(n, seed=2).digest == every.slice(0, n).digest, n


def test_few_rows_cost_few_rows(fitted, monkeypatch):
    sizes = []
    predict = diffusion_network.predict_noise
    monkeypatch.setattr(diffusion_network, "predict_noise", lambda network, x, *rest: sizes.append(len(x)) or predict(network, x, *rest))
    fitted.sample(16, seed=0)
    assert sizes == [32] * fitted.sampling.steps


def test_images_differ_only_by_rounding_between_chunk_sizes(fitted):
    """Chunks depend on the device. The noise does not."""
    network = fitted.network
    settings = {"noise_steps": 20, "steps": 3}
    every = denoise(network, range(40), **settings)
    parts = np.concatenate([denoise(network, rows, **settings) for rows in (range(3), range(3, 20), range(20, 40))])
    assert every == pytest.approx(parts, abs=1e-4)


def test_noise_of_a_step_does_not_depend_on_how_many_are_drawn_at_once(monkeypatch):
    every = denoise(GaussianPixels(), range(8))
    monkeypatch.setattr(diffusion_network, "NUMBERS_AT_ONCE", 400)
    assert np.array_equal(denoise(GaussianPixels(), range(8)), every)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(("solver", "eta"), [("ddim", 0.0), ("ddim", 0.5), ("ddim", 1.0), ("dpm-solver++", 0.0), ("dpm-solver++", 1.0)])
def test_pixels_have_the_same_distribution_as_with_diffusers_own_loop(solver, eta):
    """Two-sample test against diffusers' scheduler with torch's random numbers and, for DPM-Solver++, diffusers' own choice of times."""
    import torch
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
    from scipy.stats import ks_2samp

    network, generator = GaussianPixels(), torch.Generator().manual_seed(0)
    if solver == "ddim":
        schedule, settings = DDIMScheduler(1000), {"eta": eta}
    else:
        schedule, settings = DPMSolverMultistepScheduler(1000, algorithm_type="sde-dpmsolver++" if eta else "dpmsolver++"), {}
    schedule.set_timesteps(25)
    x = torch.randn(2000, 1, 4, 4, generator=generator)
    for time in schedule.timesteps:
        x = schedule.step(network(x, time)[0], time, x, generator=generator, **settings).prev_sample
    generated = denoise(network, range(2000), solver=solver, steps=25, eta=eta)
    assert ks_2samp(generated.ravel(), x.numpy().ravel()).pvalue > 0.01
    assert np.std(generated) == pytest.approx(float(x.std()), rel=0.03)
    correlations = np.corrcoef(generated.reshape(2000, -1).T)[np.triu_indices(16, 1)]
    assert np.abs(correlations).max() < 4 / math.sqrt(2000), "pixels are independent"


@pytest.mark.parametrize(("solver", "eta"), [("ddim", 0.0), ("ddim", 1.0), ("dpm-solver++", 0.0), ("dpm-solver++", 1.0)])
def test_more_steps_approach_the_exact_distribution(solver, eta):
    """The exact standard deviation of the pixels is SIGMA."""
    errors = [
        abs(np.std(denoise(GaussianPixels(), range(500), solver=solver, steps=steps, eta=eta)) / SIGMA - 1) for steps in (10, 50, 250)
    ]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.1, errors


@pytest.mark.parametrize("solver", ["ddim", "dpm-solver++"])
@pytest.mark.parametrize("steps", [1, 2, 13, 19, 20])
def test_every_number_of_steps_is_possible(solver, steps):
    assert np.isfinite(denoise(GaussianPixels(), range(2), noise_steps=20, solver=solver, steps=steps)).all()


def test_eta_between_0_and_1_needs_ddim():
    with pytest.raises(UserError, match=r"eta: 0.5 is not possible with dpm-solver\+\+, whose eta is 0 or 1; use `solver: ddim`"):
        ComponentSpec.parse("generator", {**TINY_DIFFUSION, "sampling": {"steps": 3, "eta": 0.5}})
    ComponentSpec.parse("generator", {**TINY_DIFFUSION, "sampling": {"steps": 3, "eta": 0.5, "solver": "ddim"}})


def test_loss_is_the_error_of_the_predicted_noise(monkeypatch):
    """The network receives images that are noised as by diffusers. A network that predicts the noise has loss 0."""
    import torch
    from diffusers import DDPMScheduler

    images = small_pool("vision").array("image").copy()
    seen = {}

    def reveal(network, noisy, times, labels):
        seen.update(noisy=noisy, times=times)
        return torch.zeros_like(noisy)

    monkeypatch.setattr(diffusion_network, "predict_noise", reveal)
    torch.manual_seed(0)
    loss = diffusion_network.NoisePrediction(None, images, None, noise_steps=1000)
    rows = torch.tensor([3, 3, 19, 0] * 100)
    value = loss(rows)
    alpha = DDPMScheduler(1000).alphas_cumprod[seen["times"]].reshape(-1, 1, 1, 1)
    clean = torch.from_numpy(images).permute(0, 3, 1, 2)[rows] / 127.5 - 1
    noise = (seen["noisy"] - alpha.sqrt() * clean) / (1 - alpha).sqrt()
    assert float(value) == pytest.approx(float((noise**2).mean()), rel=1e-3)
    late = seen["times"] > 100  # early times have little noise, so its recomputation is imprecise
    assert float(noise[late].mean()) == pytest.approx(0, abs=0.03) and float(noise[late].var()) == pytest.approx(1, abs=0.04)
    assert seen["times"].min() < 50 and seen["times"].max() > 950
    assert not torch.equal(loss(rows), value), "each step has its own noise"


def test_precision_holds_for_sampling(fitted, tmp_path):
    """bfloat16 has 8 bits of mantissa. Images change, by a few grey levels."""
    settings = {**TINY_DIFFUSION, "training": {**TINY_DIFFUSION["training"], "precision": "bfloat16"}}
    low = ComponentSpec.parse("generator", settings).build()
    fitted.save(tmp_path)
    low.load(tmp_path)
    difference = np.abs(low.sample(16, seed=0).array("image").astype(int) - fitted.sample(16, seed=0).array("image"))
    assert 0 < difference.mean() < 3


def test_diffusers_reads_a_saved_model(fitted, tmp_path):
    import torch
    from diffusers import UNet2DModel

    fitted.save(tmp_path)
    network = UNet2DModel.from_pretrained(tmp_path, use_safetensors=True, low_cpu_mem_usage=False)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in fitted.network.state_dict().items())


@pytest.mark.parametrize(
    ("memory_gib", "size", "channels", "expected"),
    [
        (80, (32, 32), (128, 256, 256), (128, 512)),
        (8, (32, 32), (128, 256, 256), (128, 256)),
        (80, (8, 8), (32, 64), (128, 1024)),
        (8, (512, 512), (128,), (1, 1)),
    ],
)
def test_chunks_of_a_gpu_depend_on_its_memory(memory_gib, size, channels, expected, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=memory_gib * 2**30))
    network = SimpleNamespace(device=torch.device("cuda"), config=SimpleNamespace(sample_size=size, block_out_channels=channels))
    assert diffusion_network.chunk_sizes(network) == expected
