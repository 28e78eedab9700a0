"""Image data sets: digits from scikit-learn; MNIST, FashionMNIST and CIFAR-10 from torchvision; and folders of image files.

Every data set has the column `image` (uint8 [n, h, w, c]) and, if it has classes, `label` (int64 [n]).
"""

from __future__ import annotations

import gzip
import importlib.util
import warnings
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
    """A folder of image files; subfolders are classes. Each image is cropped to a square and resized."""

    path: str
    """Path of the folder. Image files are searched at any depth."""
    size: Annotated[int, Field(ge=4)] = 32
    """Side of the images after resizing, in pixels."""
    channels: Literal[1, 3] = 3
    """1: grey. 3: colour."""
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "vision"

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        from PIL import Image

        root = path_of(self.path, key="data.path")
        extensions = set(Image.registered_extensions())
        files = sorted(file for file in root.rglob("*") if file.suffix.lower() in extensions and not file.is_dir())
        if not files:
            raise UserError(f"data.path: no image file in {root}")
        check_memory(len(files) * self.size**2 * self.channels, what=f"data.path: {len(files):,} images of {self.size:,} x {self.size:,}")
        classes = sorted({file.parent for file in files})
        images = [_square_image(file, size=self.size, channels=self.channels) for file in files]
        columns = {"image": np.stack(images)}
        if len(classes) > 1:
            columns["label"] = np.array([classes.index(file.parent) for file in files], dtype=np.int64)
        return split_pool(Pool.of(**columns).note(generation=REAL), eval_size=eval_size, where=f"data.path: {root}")


def _square_image(file: Path, *, size: int, channels: int) -> np.ndarray:
    """Read an image file, crop it to a square and resize it. Returns uint8 [size, size, channels].

    Raises UserError if the file is not an image, is broken, or has more than 89 million pixels (Pillow's limit against decompression
    bombs). EPS files are rejected, because they are programs that Pillow would run with Ghostscript.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            Image.init()
            with Image.open(file, formats=[name for name in Image.OPEN if name != "EPS"]) as opened:
                if opened.mode in ("I", "F"):
                    raise ValueError(f"pixel mode {opened.mode} has no defined white level; use 8 or 16 bits per channel")
                image: Image.Image = opened
                if opened.mode.startswith("I;16"):  # values go up to 65,535; Pillow's own conversion clips those above 255
                    image = Image.fromarray((np.asarray(opened) // 257).astype(np.uint8))
                square = ImageOps.fit(image.convert("L" if channels == 1 else "RGB"), (size, size))
    except Exception as error:  # decoders raise many types for broken files
        raise UserError(f"data.path: {file} cannot be read: {error}") from error
    return np.asarray(square, dtype=np.uint8).reshape(size, size, channels)
