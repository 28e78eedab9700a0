"""Row `photographs`: a folder of photographs is read, once for a new store and once for a store that has read it before."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .row import Rival, Row, Task

SIDE = 32
"""Side of the images after resizing, in pixels."""


@dataclass(frozen=True)
class Photographs:
    number: int
    width: int = 1024
    height: int = 768


def write_files(photographs: Photographs, folder: Path) -> None:
    """Write JPEG files with smooth random content into two classes."""

    def write(number: int) -> None:
        from PIL import Image

        coarse = np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((photographs.width, photographs.height), Image.Resampling.BICUBIC)
        picture.save(folder / "photographs" / f"class-{number % 2}" / f"{number}.jpg", quality=90)

    for name in ("class-0", "class-1"):
        (folder / "photographs" / name).mkdir(parents=True)
    with ThreadPoolExecutor() as pool:
        list(pool.map(write, range(photographs.number)))


def experiment(photographs: Photographs, folder: Path, *, seed: int) -> Any:
    """Build the cheapest experiment on the photographs, so that reading them takes most of the time."""
    from autophagy.common.config.schema import experiment

    return experiment(
        {
            "name": "photographs", "seeds": [seed], "generations": 1, "size": photographs.number // 2, "eval_size": 2,
            "data": {"use": "image-folder", "path": str(folder / "photographs"), "size": SIDE},
            "generator": {"use": "gmm", "components": 1, "dimensions": 2}, "policies": ["replace"], "metrics": ["pixel-variance"],
        }
    )  # fmt: skip


def run_with_new_store(photographs: Photographs, folder: Path) -> Task:
    from autophagy import run

    numbers = itertools.count()
    return Task(lambda: run(experiment(photographs, folder, seed=0), store=folder / f"store-{next(numbers)}"))


def run_with_old_store(photographs: Photographs, folder: Path) -> Task:
    """Run a new chain each time in a store that has read the photographs before."""
    from autophagy import run

    seeds, store = itertools.count(1), folder / "old-store"
    run(experiment(photographs, folder, seed=0), store=store)
    return Task(lambda: run(experiment(photographs, folder, seed=next(seeds)), store=store))


def image_folder(photographs: Photographs, folder: Path) -> Task:
    """`ImageFolder` of torchvision, resized and cropped, read by a worker process of a `DataLoader` per core."""
    import os

    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import CenterCrop, Compose, Resize, ToTensor

    dataset = ImageFolder(str(folder / "photographs"), Compose([Resize(SIDE), CenterCrop(SIDE), ToTensor()]))
    workers = len(os.sched_getaffinity(0))
    return Task(lambda: sum(len(images) for images, _ in DataLoader(dataset, batch_size=64, num_workers=workers)))


PHOTOGRAPHS, TINY = Photographs(1500), Photographs(24, width=64, height=48)
RIVALS = (Rival("torchvision ImageFolder in a DataLoader", image_folder, 1),)
ROWS = (
    Row("photographs", "1,500, first start", "s", run_with_new_store, PHOTOGRAPHS, TINY, RIVALS, write_files),
    Row("photographs", "1,500, later start", "s", run_with_old_store, PHOTOGRAPHS, TINY, RIVALS, write_files),
)
