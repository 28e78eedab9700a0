"""Image data sets: digits from scikit-learn; MNIST, FashionMNIST and CIFAR-10 from torchvision; and folders of image files.

Every data set has the column `image` (uint8 [n, h, w, c]) and, if it has classes, `label` (int64 [n]).
"""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from ..common.components.dataset import split_pool
from ..common.core.errors import UserError
from ..common.core.paths import path_of
from ..common.core.pool import REAL, Pool
from ..common.core.resources import check_memory
from ..common.core.threads import Progress, ignore_items
from .image_files import image_files, read_images


@dataclass(frozen=True)
class Digits:
    """1,797 scans of handwritten digits, 8 x 8 pixels in 17 grey levels, from scikit-learn (Alpaydin & Kaynak 1998)."""

    version: ClassVar[int] = 1
    modality: ClassVar[str] = "vision"

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        table = _digits_table()
        images = np.round(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)[..., None]
        pool = Pool.of(image=images, label=table[:, -1].astype(np.int64)).note(generation=REAL)
        return split_pool(pool, eval_size=eval_size, where="data")


def _digits_table() -> np.ndarray:
    """Read the digits file of scikit-learn. Returns float64 [1797, 65]: 64 pixels (0 to 16) and the label.

    The function does not import scikit-learn, because the import takes seconds. `sklearn.datasets.load_digits` parses the file in the
    same way.
    """
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise UserError("data: 'digits' needs scikit-learn; install it with `pip install scikit-learn`")
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    try:
        with gzip.open(file, "rt", encoding="utf-8") as rows:
            return np.loadtxt(rows, delimiter=",")
    except OSError as error:
        raise UserError(f"data: 'digits' cannot read {file}: {error}; reinstall scikit-learn") from error


@dataclass(frozen=True)
class Torchvision:
    """Base class of the torchvision data sets. The train and test rows of torchvision are pooled before the split."""

    root: str
    """Folder of the data set, in the layout of torchvision."""
    download: bool = False
    """True: download the data set into `root` if it is missing."""
    rows: Annotated[int, Field(ge=1)] | None = None
    """Use only this number of rows. Rows of torchvision's train split come first, then rows of its test split."""
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "vision"
    name: ClassVar[Literal["MNIST", "FashionMNIST", "CIFAR10"]]

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        import torchvision
        from huggingface_hub.constants import HF_HUB_OFFLINE

        root, parts = path_of(self.root, key="data.root"), []
        if self.download and HF_HUB_OFFLINE:
            raise UserError(
                f"data.download: {self.name} cannot be downloaded, because HF_HUB_OFFLINE is set; unset it or set download: false"
            )
        for train in (True, False):
            try:
                dataset = getattr(torchvision.datasets, self.name)(str(root), train=train, download=self.download)
            except Exception as error:  # torchvision does not check its files; a missing or broken file raises many types
                raise UserError(f"data.root: {self.name} cannot be read from {root}: {type(error).__name__}: {error}") from error
            images = np.asarray(dataset.data, dtype=np.uint8)
            images = images[..., None] if images.ndim == 3 else images
            parts.append((images, np.asarray(dataset.targets, dtype=np.int64)))
        images, labels = (np.concatenate(arrays)[: self.rows] for arrays in zip(*parts, strict=True))
        return split_pool(Pool.of(image=images, label=labels).note(generation=REAL), eval_size=eval_size, where=f"data.root: {self.root}")


class MNIST(Torchvision):
    """MNIST: handwritten digits, 28 x 28 grey pixels, 10 classes (LeCun et al. 1998)."""

    name = "MNIST"


class FashionMNIST(Torchvision):
    """Fashion-MNIST: photographs of clothes, 28 x 28 grey pixels, 10 classes (Xiao et al. 2017)."""

    name = "FashionMNIST"


class CIFAR10(Torchvision):
    """CIFAR-10: photographs of animals and vehicles, 32 x 32 colour pixels, 10 classes (Krizhevsky 2009)."""

    name = "CIFAR10"


@dataclass(frozen=True)
class ImageFolder:
    """A folder of image files; subfolders are classes. Each image is cropped to a square and resized.

    Photographs are turned upright as their EXIF orientation tag says. Transparent pixels become white.
    """

    path: str
    """Path of the folder. Image files are searched at any depth."""
    size: Annotated[int, Field(ge=4)] = 32
    """Side of the images after resizing, in pixels."""
    channels: Literal[1, 3] = 3
    """1: grey. 3: colour."""
    version: ClassVar[int] = 2
    modality: ClassVar[str] = "vision"

    def source_files(self) -> Mapping[str, Path]:
        return image_files(path_of(self.path, key="data.path"))

    def load(self, *, eval_size: int, progress: Progress = ignore_items) -> Mapping[str, Pool]:
        files = self.source_files()
        if not files:
            raise UserError(f"data.path: no image file in {self.path}")
        check_memory(len(files) * self.size**2 * self.channels, what=f"data.path: {len(files):,} images of {self.size:,} x {self.size:,}")
        columns = {"image": read_images(files, size=self.size, channels=self.channels, progress=progress)}
        folders = [name.rpartition("/")[0] for name in files]
        classes = {folder: label for label, folder in enumerate(dict.fromkeys(sorted(folders, key=lambda folder: folder.split("/"))))}
        if len(classes) > 1:
            columns["label"] = np.array([classes[folder] for folder in folders], dtype=np.int64)
        return split_pool(Pool.of(**columns).note(generation=REAL), eval_size=eval_size, where=f"data.path: {self.path}")
