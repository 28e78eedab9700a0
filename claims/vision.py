"""Claims about image models, tested with a small VAE and a small diffusion model on scans of handwritten digits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..common.replication.claim import Claim, JudgeOutput, Rows, generation_figure, over_generations
from ..common.replication.statistical_checks import Estimate, by_seed, check_above, check_below, history
from .text import OVER_SEEDS, check_change, gap

if TYPE_CHECKING:
    import pandas

VARIANCE_SCALE = 0.49
"""`sampling.variance_scale` of sharpened sampling. It multiplies the standard deviation of the noise by 0.7."""
SHARP_SAMPLING = f"generator.sampling.variance_scale={VARIANCE_SCALE}"
EXPERIMENTS = {
    "vae": ["vae.yaml"],
    "vae-sharp": ["vae.yaml", SHARP_SAMPLING, "policies=[replace]"],
    "diffusion": ["diffusion.yaml", "policies=[replace]"],
    "diffusion-sharp": ["diffusion.yaml", SHARP_SAMPLING, "policies=[replace]"],
}
DISTANCE, SHARP = "frechet_distance", f"variance_scale {VARIANCE_SCALE}"


def images_degrade(rows: Rows) -> JudgeOutput:
    checks = []
    for name, model, last in (("vae", "VAE", 8), ("diffusion", "diffusion", 3)):
        unbiased, sharp = rows[name], rows[f"{name}-sharp"]
        faster = Estimate.of(_recall_kept(sharp) - _recall_kept(unbiased))
        checks += [
            check_change(f"{model}: Fréchet distance", unbiased, DISTANCE, "replace", last, up=True),
            check_change(f"{model}: Fréchet distance, {SHARP}", sharp, DISTANCE, "replace", last, up=True),
            check_change(f"{model}: precision", unbiased, "precision", "replace", last, up=False),
            check_change(f"{model}: recall", unbiased, "recall", "replace", last, up=False),
            check_change(f"{model}: precision, {SHARP}", sharp, "precision", "replace", last, up=True),
            check_below(f"{model}: share of recall kept, {SHARP} - 1", faster),
        ]
    vae = rows["vae"]
    checks += [
        check_change("VAE: Fréchet distance with all real data", vae, DISTANCE, "augment", 8, up=True),
        check_above("VAE: Fréchet distance, replace - with all real data", gap(vae, DISTANCE, "replace", "augment", 8)),
    ]
    curves = [over_generations(f"VAE, {policy}", vae, DISTANCE, policy) for policy in ("replace", "augment", "real")]
    curves += [
        over_generations(f"VAE, replace, {SHARP}", rows["vae-sharp"], DISTANCE, "replace"),
        over_generations("diffusion, replace", rows["diffusion"], DISTANCE, "replace"),
        over_generations(f"diffusion, replace, {SHARP}", rows["diffusion-sharp"], DISTANCE, "replace"),
    ]
    return JudgeOutput(checks, generation_figure("Fréchet distance to held-out digits", curves), _note(rows))


def _recall_kept(rows: pandas.DataFrame) -> np.ndarray:
    """Compute recall divided by its value at generation 0, averaged over later generations, float64 [seeds]. Lower means a faster loss."""
    recall = history(rows, "recall", "replace")
    return np.asarray((recall[:, 1:] / recall[:, :1]).mean(axis=1))


def _note(rows: Rows) -> str:
    """Return a note that explains why sharpened sampling gains no precision."""
    precision = {name: by_seed(own, "precision", "replace", 0).mean() for name, own in rows.items()}
    return (
        f"Less noise does not give better digits here: at generation 0 precision is {precision['vae-sharp']:.2f} with {SHARP} and "
        f"{precision['vae']:.2f} with 1 for the VAE, {precision['diffusion-sharp']:.2f} and {precision['diffusion']:.2f} for the diffusion "
        "model. With less noise, some images lie between digits. The next model learns them, so precision cannot rise."
    )


CLAIMS = (
    Claim(
        id="C23",
        statement="Images drift away from the real ones; unbiased sampling loses precision and recall, sharpened sampling gains precision "
        "and loses recall faster; a fixed real set only delays the drift.",
        source="Alemohammad et al. 2024; Bohacek & Farid 2023",
        cost="minutes",
        experiments=EXPERIMENTS,
        observable="Fréchet distance, precision and recall on features of a classifier; VAE over 8 generations, diffusion model over 4; "
        f"sampling.variance_scale 1 and {VARIANCE_SCALE} (noise with 0.7 times the standard deviation)",
        expects=f"distance up; precision and recall down; with {SHARP} precision up and recall down faster; with all real data the "
        "distance rises, but less",
        tolerance=OVER_SEEDS,
        judge=images_degrade,
    ),
)
