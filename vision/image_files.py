"""Reads folders of image files: finds the files, decodes them in parallel threads, crops each to a square and resizes it."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..common.core.errors import UserError
from ..common.core.file_digests import unreadable_files
from ..common.core.threads import Progress, ignore_items, map_in_threads

if TYPE_CHECKING:
    from PIL import Image

DRAFT_FACTOR = 2
"""A JPEG file is decoded at the smallest scale (1, 1/2, 1/4 or 1/8) at which its short side has this many times the requested pixels."""
LARGE_PIXELS = 2**24
"""Images with more pixels are decoded one at a time, so that many threads do not need much memory at once."""
_large_images = threading.Lock()


def image_files(root: Path) -> Mapping[str, Path]:
    """Find the image files in a folder at any depth, by their suffix. Returns paths by relative name, sorted by folder and name.

    Links to files are included. Links to folders are not followed. Raises UserError if a folder cannot be read.
    """
    from PIL import Image

    def stop(error: OSError) -> None:
        raise UserError(f"data.path: the folder {error.filename} cannot be read: {error.strerror}") from error

    if not root.is_dir():
        return {}
    suffixes = set(Image.registered_extensions())
    names: list[str] = []
    for folder, _, entries in os.walk(root, onerror=stop):
        images = (entry for entry in entries if os.path.splitext(entry)[1].lower() in suffixes)
        names += (os.path.relpath(os.path.join(folder, image), root).replace(os.sep, "/") for image in images)
    return {name: root / name for name in sorted(names, key=lambda name: name.split("/"))}


def read_images(files: Mapping[str, Path], *, size: int, channels: int, progress: Progress = ignore_items) -> np.ndarray:
    """Read image files with `read_image` in parallel threads. Returns uint8 [n, size, size, channels], in the order of `files`.

    Raises one UserError for all files that are not images, are broken, or have more than 89 million pixels (Pillow's limit against
    decompression bombs).
    """
    from PIL import Image

    paths = list(files.values())
    images = np.empty((len(paths), size, size, channels), dtype=np.uint8)

    def read(row: int) -> str | None:
        try:
            images[row] = read_image(paths[row], size=size, channels=channels)
        except Exception as error:  # decoders raise many types for broken files
            return str(error) or type(error).__name__
        return None

    with warnings.catch_warnings():  # here, because filters apply to all threads
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        reasons = map_in_threads(read, range(len(paths)), progress=progress)
    if faults := [(path, reason) for path, reason in zip(paths, reasons, strict=True) if reason is not None]:
        raise unreadable_files(faults, total=len(paths), where="data.path")
    return images


def read_image(file: Path, *, size: int, channels: int) -> np.ndarray:
    """Read an image file, crop it to a square and resize it. Returns uint8 [size, size, channels].

    The EXIF orientation tag of photographs is applied. Transparent pixels are composited onto white. JPEG files are decoded at reduced
    scale if they are much larger than `size`. Of an animation, the first frame is read. EPS files are rejected, because they are programs
    that Pillow would run with Ghostscript.
    """
    from PIL import Image, ImageOps

    Image.init()
    mode = "L" if channels == 1 else "RGB"
    with Image.open(file, formats=[name for name in Image.OPEN if name != "EPS"]) as opened:
        if opened.mode in ("I", "F"):
            raise ValueError(f"pixel mode {opened.mode} has no defined white level; use 8 or 16 bits per channel")
        with _large_images if opened.width * opened.height > LARGE_PIXELS else nullcontext():
            opened.draft(mode, (DRAFT_FACTOR * size, DRAFT_FACTOR * size))
            ImageOps.exif_transpose(opened, in_place=True)
            square = ImageOps.fit(_on_white(opened).convert(mode), (size, size))
    return np.asarray(square, dtype=np.uint8).reshape(size, size, channels)


def _on_white(image: Image.Image) -> Image.Image:
    """Composite an image onto white if it has transparent pixels. Images with 16 bits per pixel are converted to 8 bits."""
    from PIL import Image

    if image.mode.startswith("I;16"):  # values go up to 65,535; Pillow's own conversion clips those above 255
        grey = np.asarray(image)
        if (transparent := image.info.get("transparency")) is not None:
            grey = np.where(grey == transparent, 65535, grey)
        return Image.fromarray((grey // 257).astype(np.uint8))
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
