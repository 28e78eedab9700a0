"""Image files and image data sets that are invalid or malicious: one message names the file, and no code of theirs runs."""

from __future__ import annotations

import os
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from autophagy import UserError
from autophagy.vision.data import CIFAR10, MNIST, ImageFolder
from autophagy.vision.image_files import read_image
from PIL import ExifTags, Image, ImageOps
from support.mnist_files import write_mnist
from support.side_effects import recorded_side_effects

GIGABYTE = 10**9


def outcome(read, path):
    """The result of `read`, or "error names the file" for a UserError that does. Other exceptions are returned."""
    try:
        return read()
    except UserError as error:
        return "error names the file" if str(path) in str(error) else error


def png(width, height, *, data=b"", colour=0):
    """A PNG whose header claims `width` x `height` grey pixels."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def folder_of_images(folder, n=12):
    folder.mkdir(exist_ok=True)
    for number in range(n):
        Image.fromarray(np.full((8, 8), number * 20, np.uint8)).save(folder / f"{number:02}.png")
    return folder


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bomb.png", png(30_000, 30_000), "decompression bomb"),
        ("nearly.png", png(9_500, 9_500), "decompression bomb"),
        ("flat.png", png(2**31 - 1, 1), "decompression bomb"),
        ("cut.png", png(8, 8, data=bytes(range(72)))[:80], "cannot be read"),
        ("short.png", png(8, 8, data=bytes(10)), "cannot be read"),
        ("text.png", png(8, 8).replace(b"IDAT", b"zTXt"), "cannot be read"),
        ("empty.png", b"", "cannot identify image file"),
        ("words.jpg", b"not an image at all", "cannot identify image file"),
        ("program.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(x) print\n%%EOF", "cannot identify image file"),
        ("program.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(x) print\n%%EOF", "cannot identify image file"),
    ],
    ids=range(10),
)
def test_invalid_image_or_decompression_bomb_is_named(name, content, message, tmp_path):
    folder = folder_of_images(tmp_path / "images")
    (folder / name).write_bytes(content)
    before = Image.MAX_IMAGE_PIXELS
    with recorded_side_effects() as deeds, pytest.raises(UserError) as caught:
        ImageFolder(path=str(folder), size=8).load(eval_size=3)
    assert message in str(caught.value) and str(folder / name) in str(caught.value)
    assert deeds == [] and before == Image.MAX_IMAGE_PIXELS == 89_478_485


def test_corrupt_image_is_read_or_named(tmp_path):
    """300 files of every common format with a few random bytes changed."""
    rng, folder = np.random.default_rng(0), folder_of_images(tmp_path / "images", 3)
    picture, outcomes = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)), []
    for kind in ("png", "jpg", "gif", "bmp", "webp", "tiff", "tga", "ppm", "ico", "jp2"):
        path = folder / f"x.{kind}"
        picture.save(path)
        intact = path.read_bytes()
        for _ in range(30):
            corrupt = bytearray(intact)
            for place in rng.integers(min(len(intact), 200), size=rng.choice([1, 5, 50])):
                corrupt[place] = rng.integers(256)
            path.write_bytes(bytes(corrupt))
            outcomes.append(outcome(lambda: ImageFolder(path=str(folder), size=8).load(eval_size=1)["train"].array("image").shape, path))
        path.unlink()
    assert set(outcomes) == {(2, 8, 8, 3), "error names the file"}


def test_image_folder_with_links_and_loops(tmp_path):
    """A folder named x.png is not an image, a link to an image is one, loops of folders end, and a broken link is named."""
    folder = folder_of_images(tmp_path / "images")
    (folder / "x.png").mkdir()
    (folder / "again").symlink_to(folder, target_is_directory=True)
    (folder / "other.png").symlink_to(folder / "00.png")
    splits = ImageFolder(path=str(folder), size=8, channels=1).load(eval_size=3)
    assert sum(map(len, splits.values())) == 13
    for name, target in (("itself.png", "itself.png"), ("nothing.png", "nowhere.png")):
        (folder / name).symlink_to(folder / target)
        with pytest.raises(UserError, match=f"{name} cannot be read"):
            ImageFolder(path=str(folder), size=8).load(eval_size=3)
        (folder / name).unlink()
    for path in ("~nobody-of-that-name/x", "a\0b", "x" * 5000, str(tmp_path / "nowhere"), str(folder / "00.png")):
        with pytest.raises(UserError, match=r"data\.path: "):
            ImageFolder(path=path, size=8).load(eval_size=3)


def test_images_of_all_sizes_and_modes_are_converted(tmp_path):
    """Mid-grey stays mid-grey in every mode, with 8 and with 16 bits per pixel."""
    grey = np.full((20, 30), 128, np.uint8)
    for size in ((1, 1), (1, 300), (300, 1), (31, 57)):
        for mode in ("L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr"):
            image = Image.fromarray(grey).resize(size).convert(mode)
            image.save(tmp_path / f"{mode}-{size[0]}-{size[1]}.{'png' if mode in ('L', 'P', 'RGB', 'RGBA', 'LA') else 'tiff'}")
    for name in ("a.png", "b.tiff"):
        Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / name)
    for channels in (1, 3):
        images = np.concatenate(
            [pool.array("image") for pool in ImageFolder(path=str(tmp_path), channels=channels).load(eval_size=5).values()]
        )
        assert images.shape == (30, 32, 32, channels)
        middle = images[:, 16, 16].astype(int)
        assert (abs(middle - 128) < 5).all()
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "c.tiff")
    with pytest.raises(UserError, match="pixel mode F has no defined white level; use 8 or 16 bits per channel"):
        ImageFolder(path=str(tmp_path)).load(eval_size=5)


def natural_image(width, height):
    """Smooth content with an edge."""
    coarse = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    picture = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).copy()
    picture[height // 2 :, : width // 3] //= 2
    return Image.fromarray(picture)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_reduced_decoding_of_large_jpeg_files_changes_no_visible_pixel(channels, mode, tmp_path):
    picture = natural_image(640, 480)
    picture.save(tmp_path / "x.jpg", quality=90)
    with Image.open(tmp_path / "x.jpg") as full:
        expected = np.asarray(ImageOps.fit(full.convert(mode), (32, 32))).reshape(32, 32, channels).astype(int)
    with Image.open(tmp_path / "x.jpg") as draft:
        draft.draft(mode, (64, 64))
        assert draft.size == (160, 120), "the test covers a reduced scale, at least twice the requested size"
    difference = abs(read_image(tmp_path / "x.jpg", size=32, channels=channels) - expected)
    assert difference.mean() < 1 and difference.max() < 16


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tiff"])
def test_orientation_tags_are_applied(kind, tmp_path):
    """A picture of four grey squares, stored in all eight orientations, gives the same image."""
    upright = Image.fromarray(np.kron([[0, 80], [160, 240]], np.ones((16, 16))).astype(np.uint8))
    inverse = {
        2: "FLIP_LEFT_RIGHT",
        3: "ROTATE_180",
        4: "FLIP_TOP_BOTTOM",
        5: "TRANSPOSE",
        6: "ROTATE_90",
        7: "TRANSVERSE",
        8: "ROTATE_270",
    }
    for orientation, stored in {1: None, **inverse}.items():
        picture, exif = upright if stored is None else upright.transpose(Image.Transpose[stored]), Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        picture.save(tmp_path / f"x.{kind}", exif=exif)
        image = read_image(tmp_path / f"x.{kind}", size=32, channels=1)[..., 0]
        assert np.abs(image[8::16, 8::16] - np.array([[0.0, 80], [160, 240]])).max() < 8, orientation


def test_transparent_pixels_become_white(tmp_path):
    """Black pixels: the left half is transparent, the right half is not."""
    alpha = np.zeros((8, 8), np.uint8)
    alpha[:, 4:] = 255
    black = np.zeros((8, 8), np.uint8)
    Image.fromarray(np.dstack([black, black, black, alpha])).save(tmp_path / "rgba.png")
    Image.fromarray(np.dstack([black, black, black, alpha])).save(tmp_path / "rgba.webp", lossless=True, exact=True)
    Image.fromarray(np.dstack([black, alpha])).save(tmp_path / "la.png")
    palette = Image.fromarray((alpha // 255).astype(np.uint8), mode="P")
    palette.putpalette([0, 0, 0, 0, 0, 0])
    palette.save(tmp_path / "p.png", transparency=0)
    palette.save(tmp_path / "p.gif", transparency=0)
    grey = Image.fromarray((1 - alpha // 255).astype(np.uint8))
    grey.save(tmp_path / "l.png", transparency=1)
    Image.fromarray((1 - alpha // 255).astype(np.uint16)).save(tmp_path / "deep.png", transparency=1)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 7
    for file in files:
        for channels in (1, 3):
            image = read_image(file, size=8, channels=channels)
            assert (image[:, :4] == 255).all() and (image[:, 4:] <= 1).all(), file.name
    half = Image.new("RGBA", (8, 8), (0, 0, 0, 51))
    half.save(tmp_path / "half.png")
    assert (read_image(tmp_path / "half.png", size=8, channels=1) == 204).all()


def test_several_broken_files_are_one_error_that_names_the_first_and_counts_all(tmp_path):
    folder = folder_of_images(tmp_path / "images")
    for number in range(5):
        (folder / f"broken-{number}.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"data\.path: 5 of 17 files cannot be read; repair or remove them:\n") as caught:
        ImageFolder(path=str(folder), size=8).load(eval_size=3)
    named = [f"broken-{number}.jpg" in str(caught.value) for number in range(5)]
    assert named == [True] * 3 + [False] * 2 and str(caught.value).endswith("and 2 more")


def test_images_that_exceed_memory_are_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=GIGABYTE))
    with pytest.raises(UserError, match=r"12 images of 10,000 x 10,000 would take 3,600 MB"):
        ImageFolder(path=str(folder_of_images(tmp_path / "images")), size=10_000).load(eval_size=3)


def test_corrupt_mnist_and_malicious_cifar_are_rejected(tmp_path):
    write_mnist(tmp_path)
    for content in (b"", b"\0" * 16, os.urandom(500), struct.pack(">IIII", 2051, 10**6, 28, 28)):
        (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(content)
        with pytest.raises(UserError, match=r"data\.root: MNIST cannot be read from"):
            MNIST(root=str(tmp_path)).load(eval_size=5)
    batches = tmp_path / "cifar-10-batches-py"
    batches.mkdir()
    (batches / "data_batch_1").write_bytes(b"cos\nsystem\n(S'touch canary'\ntR.")
    with recorded_side_effects() as deeds, pytest.raises(UserError, match=r"data\.root: CIFAR10 cannot be read from"):
        CIFAR10(root=str(tmp_path)).load(eval_size=5)
    assert deeds == []
