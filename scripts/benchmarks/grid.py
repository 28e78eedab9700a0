"""Row `grid`: five policies, three seeds and six generations of a text and an image experiment.

Here the grid is one call of `run`. The rival is a script without this package: one chain after another, each with `Trainer` and
`generate`, or with the loop of the diffusers example and `DDIMPipeline`. It measures no metrics, and runs the chains of the first seed
only: chains per second are compared.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from . import diffusion, language, lm_fit, lm_sampling
from .diffusion import Images
from .language import Language
from .row import Rival, Row, Task

R = TypeVar("R")
POLICIES = ("replace", "accumulate", "accumulate-subsample", "mix", "real")


@dataclass(frozen=True)
class Grid:
    """Size of the grid, its two models, and the rows of a pool."""

    language: Language
    images: Images
    seeds: int = 3
    generations: int = 6
    rows: int = 64


def write_files(grid: Grid, folder: Path) -> None:
    """Write the files of the language model to `language/` and those of the image model to `images/`."""
    for name, write, settings in (("language", language.write_files, grid.language), ("images", diffusion.write_files, grid.images)):
        (folder / name).mkdir()
        write(settings, folder / name)
    from PIL import Image

    (folder / "pictures").mkdir()
    for number, pixels in enumerate(np.load(folder / "images" / "images.npy")):
        Image.fromarray(pixels).save(folder / "pictures" / f"{number:04}.png")


# ---- this package -------------------------------------------------------------------------------------------------


def run_grid(grid: Grid, folder: Path) -> Task:
    """Run both experiments with two workers and an empty store."""
    from autophagy import run

    numbers = itertools.count()

    def chains() -> int:
        run(*experiments(grid, folder), store=folder / f"store-{next(numbers)}", workers=2)
        return 2 * grid.seeds * len(POLICIES)

    return Task(chains, float)


def experiments(grid: Grid, folder: Path) -> Sequence[Any]:
    """Build the text and the image experiment."""
    from autophagy.common.config.schema import experiment

    text, images = grid.language, grid.images
    common = {
        "seeds": list(range(grid.seeds)), "generations": grid.generations, "init": "scratch",
        "size": grid.rows, "eval_size": min(8, grid.rows),
        "policies": {name: {"use": name, **({"real_fraction": 0.5} if name == "mix" else {})} for name in POLICIES},
    }  # fmt: skip
    lm = {
        "use": "causal-lm", "architecture": dict(text.architecture), "vocabulary": text.vocabulary, "context": text.context,
        "prompt_tokens": 1, "ends": False, "training": {"steps": text.steps, "batch": text.batch},
    }  # fmt: skip
    unet = {
        "use": "diffusion", "channels": list(images.channels), "layers": images.layers, "sampling": {"steps": images.denoising_steps},
        "training": {"steps": images.steps, "batch": images.batch},
    }  # fmt: skip
    pictures = {"use": "image-folder", "path": str(folder / "pictures"), "size": images.side}
    return (
        experiment({"name": "text", "data": {"use": "bible", "words": 32}, "generator": lm, "metrics": ["distinct"], **common}),
        experiment({"name": "images", "data": pictures, "generator": unet, "metrics": ["pixel-variance"], **common}),
    )


# ---- rival --------------------------------------------------------------------------------------------------------


def separate_chains(grid: Grid, folder: Path) -> Task:
    texts = language.read_texts(folder / "language")[: grid.rows]
    pictures = list(np.load(folder / "images" / "images.npy")[: grid.rows])

    def chains() -> int:
        for policy in POLICIES:
            text_chain(grid, folder / "language", pool_of(policy, texts))
            image_chain(grid, folder / "images", pool_of(policy, pictures))
        return 2 * len(POLICIES)

    return Task(chains, float)


def text_chain(grid: Grid, folder: Path, pool: Callable[[list[list[str]]], list[str]]) -> None:
    """Run one chain with `Trainer` and `generate`. `pool` returns the training texts for the generated texts of all generations."""
    history: list[list[str]] = []
    for _ in range(grid.generations + 1):
        model, tokenizer, device = language.load(folder)
        lm_fit.train_with_trainer(grid.language, model, tokenizer, pool(history), folder=folder, device=device)
        history.append(lm_sampling.generate_texts(replace(grid.language, batch=grid.rows), model.eval(), tokenizer))


def image_chain(grid: Grid, folder: Path, pool: Callable[[list[list[np.ndarray]]], list[np.ndarray]]) -> None:
    """Run one chain with the loop of the diffusers example and `DDIMPipeline`."""
    history: list[list[np.ndarray]] = []
    for _ in range(grid.generations + 1):
        network = diffusion.load_network(folder)
        diffusion.train_as_in_example(grid.images, network, np.stack(pool(history)))
        history.append(list(diffusion.draw_with_pipeline(replace(grid.images, batch=grid.rows), network.eval())))


def pool_of(policy: str, real: list[R]) -> Callable[[list[list[R]]], list[R]]:
    """Return the function from the pools generated so far to the next training pool."""
    rng = random.Random(0)

    def pool(history: list[list[R]]) -> list[R]:
        half, everything = len(real) // 2, [*real, *itertools.chain.from_iterable(history)]
        pools: Mapping[str, Callable[[], list[R]]] = {
            "replace": lambda: history[-1],
            "accumulate": lambda: everything,
            "accumulate-subsample": lambda: rng.sample(everything, len(real)),
            "mix": lambda: [*rng.sample(real, half), *rng.sample(history[-1], len(real) - half)],
            "real": lambda: real,
        }
        return pools[policy]() if history else real

    return pool


TEXT = replace(language.SMALL_LLAMA, vocabulary=1024, context=32, batch=16, steps=8)
PICTURES = Images((16, 32), layers=1, side=8, batch=16, steps=8, denoising_steps=20)
TINY = Grid(language.TINY, replace(diffusion.TINY, batch=8, steps=4), seeds=1, generations=1, rows=8)
ROWS = (
    Row(
        "grid", "5 policies x 3 seeds x 6 generations, text and images", "chains/s", run_grid, Grid(TEXT, PICTURES), TINY,
        [Rival("separate chains, Trainer + generate and DDIMPipeline", separate_chains, 3)], write_files, warm_up=False,
    ),
)  # fmt: skip
