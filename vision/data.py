"""Image data: scikit-learn's digits, torchvision's MNIST, FashionMNIST and CIFAR-10, and any folder of images.

Every loader gives the columns `image` (uint8 [n, h, w, c]) and, where there are classes, `label` (int64 [n]).
"""

from __future__ import annotations

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
        from sklearn.datasets import load_digits

        found = load_digits()
        images = np.round(found.images * (255 / 16)).astype(np.uint8)[..., None]
        pool = Pool.of(image=images, label=found.target.astype(np.int64)).note(generation=REAL)
        return split_pool(pool, eval_size=eval_size, where="data")


@dataclass(frozen=True)
class Torchvision:
    """A data set of torchvision in the folder `root`; it is fetched only with `download: true`. Train and test rows are pooled."""

    root: str
    download: bool = False
    rows: Annotated[int, Field(ge=1)] | None = None
    """Use only so many rows, drawn from the start of the train split."""
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "vision"
    name: ClassVar[Literal["MNIST", "FashionMNIST", "CIFAR10"]]

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        import torchvision
        from huggingface_hub.constants import HF_HUB_OFFLINE

        root, parts = path_of(self.root, key="data.root"), []
        if self.download and HF_HUB_OFFLINE:
            raise UserError(f"data.download: {self.name} cannot be fetched while HF_HUB_OFFLINE says to stay offline")
        for train in (True, False):
            try:
                found = getattr(torchvision.datasets, self.name)(str(root), train=train, download=self.download)
            except Exception as error:  # torchvision checks neither that files are there nor what is in them before it reads them
                raise UserError(f"data.root: {self.name} cannot be read from {root}: {type(error).__name__}: {error}") from error
            images = np.asarray(found.data, dtype=np.uint8)
            images = images[..., None] if images.ndim == 3 else images
            parts.append((images, np.asarray(found.targets, dtype=np.int64)))
        images, labels = (np.concatenate(arrays)[: self.rows] for arrays in zip(*parts, strict=True))
        return split_pool(Pool.of(image=images, label=labels).note(generation=REAL), eval_size=eval_size, where=f"data.root: {self.root}")


class MNIST(Torchvision):
    """MNIST: 28 x 28 grey digits (LeCun et al. 1998)."""

    name = "MNIST"


class FashionMNIST(Torchvision):
    """Fashion-MNIST: 28 x 28 grey clothes (Xiao et al. 2017)."""

    name = "FashionMNIST"


class CIFAR10(Torchvision):
    """CIFAR-10: 32 x 32 colour photographs (Krizhevsky 2009)."""

    name = "CIFAR10"


@dataclass(frozen=True)
class ImageFolder:
    """Any folder of images; its subfolders, if it has any, are the classes. Each image is cropped to a square and resized."""

    path: str
    size: Annotated[int, Field(ge=4)] = 32
    channels: Literal[1, 3] = 3
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "vision"

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        from PIL import Image

        root = path_of(self.path, key="data.path")
        known = set(Image.registered_extensions())
        files = sorted(file for file in root.rglob("*") if file.suffix.lower() in known and not file.is_dir())
        if not files:
            raise UserError(f"data.path: there is no image in {root}")
        check_memory(len(files) * self.size**2 * self.channels, what=f"data.path: {len(files):,} images of {self.size:,} x {self.size:,}")
        classes = sorted({file.parent for file in files})
        images = [_square(file, size=self.size, channels=self.channels) for file in files]
        labels = [classes.index(file.parent) for file in files]
        columns = {"image": np.stack(images)}
        if len(classes) > 1:
            columns["label"] = np.array(labels, dtype=np.int64)
        return split_pool(Pool.of(**columns).note(generation=REAL), eval_size=eval_size, where=f"data.path: {root}")


def _square(file: Path, *, size: int, channels: int) -> np.ndarray:
    """An image file cropped to a square and resized, uint8 [size, size, channels]; UserError if it is none, or a bomb.

    Pillow's limit of 89 million pixels is kept. EPS is left alone: it is a program, which Ghostscript would run.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            Image.init()
            with Image.open(file, formats=[name for name in Image.OPEN if name != "EPS"]) as opened:
                if opened.mode in ("I", "F"):
                    raise ValueError(f"its pixels are of mode {opened.mode}, which has no white; 8 and 16 bits a channel can be read")
                whole = opened
                if opened.mode.startswith("I;16"):  # Pillow would clip all that is lighter than 255 of 65,535 to white
                    whole = Image.fromarray((np.asarray(opened) // 257).astype(np.uint8))
                square = ImageOps.fit(whole.convert("L" if channels == 1 else "RGB"), (size, size))
    except Exception as error:  # decoders meet broken files with whatever error comes up
        raise UserError(f"data.path: {file} cannot be read: {error}") from error
    return np.asarray(square, dtype=np.uint8).reshape(size, size, channels)
