"""Hostile data and checkpoints: a broken file is named in one message, bombs do not go off, nothing is run, nothing fetched unasked."""

from __future__ import annotations

import json
import os
import resource
import struct
import subprocess
import sys
import zlib
from types import SimpleNamespace

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from autophagy import UserError
from autophagy.common.config.registry import ComponentSpec
from autophagy.text import files
from autophagy.text.data import HubText, TextFile, passages
from autophagy.vision.data import CIFAR10, MNIST, ImageFolder
from PIL import Image
from support.mnist_files import write_mnist
from support.side_effects import recorded_side_effects
from support.tiny import ROOT

GIGABYTE = 10**9


def load(path, **settings):
    return TextFile(path=str(path), words=10, **settings).load(eval_size=5)


def refused(said, path, **settings):
    with pytest.raises(UserError) as caught:
        load(path, **settings)
    assert said in str(caught.value) and len(str(caught.value)) < 1000, str(caught.value)


def end_of(read, path):
    """What `read` gives, or "refused" if it is a UserError that names the path."""
    try:
        return read()
    except UserError as error:
        return "refused" if str(path) in str(error) else error


# ---- text ---------------------------------------------------------------------------------------------------------------


def test_a_file_is_cut_into_the_same_passages_however_it_is_read(tmp_path, monkeypatch):
    """Pieces that end within a word, within a character, on a space; every kind of space that Python knows."""
    rng = np.random.default_rng(0)
    letters = np.array([*"abc", "é", "語", "😀", " ", " ", " ", "\n", "\r\n", "\t", "\u2028", "\x1f", "\xa0"])
    text = "".join(rng.choice(letters, 5000))
    (tmp_path / "a.txt").write_bytes(text.encode())
    for piece in (1, 2, 3, 7, 100, 10**6):
        monkeypatch.setattr(files, "PIECE", piece)
        [document] = files.documents(tmp_path / "a.txt", column="")
        assert list(document) == text.split()
    splits = load(tmp_path / "a.txt", base_share=0)
    assert sorted(row for pool in splits.values() for row in pool.list("text")) == sorted(passages([text], words=10))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"", "has 0 rows; eval_size = 5 alone takes 10"),
        ("a.txt", b" \n\t " * 999, "has 0 rows"),
        ("a.txt", b"word " * 300_000 + b"\xff word", "is not UTF-8: byte 1,500,000 is 0xff"),
        ("a.txt", b"word " * 300 + "é".encode()[:1], "is not UTF-8: byte 1,500 is 0xc3"),
        ("a.txt", b"x" * 3_000_000, "characters without a space before byte 1,048,576; is this text?"),
        ("a.txt", "word ".encode("utf-16") * 999, "is not UTF-8: byte 0 is 0xff"),
        ("a.jsonl", b"\xff", "is not UTF-8: byte 0 is 0xff"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "\xff"}', "is not UTF-8: byte 24 is 0xff"),
        ("a.jsonl", b"[" * 100_000, "line 1 is not JSON: maximum recursion depth exceeded"),
        ("a.jsonl", b'{"text": "a"}\n' + b'{"text": ' * 50_000, "line 2 is not JSON"),
        ("a.jsonl", b'{"text": ' + b"9" * 5000 + b"}", "line 1 is not JSON: Exceeds the limit"),
        ("a.jsonl", b'{"text": NaN}', "record 0 of"),
        ("a.jsonl", b'["text"]', "record 0 of"),
        ("a.jsonl", b'{"' + b"x" * 10_000 + b'": 1}', "record 0 of"),
        ("a.parquet", b"", "cannot be read"),
        ("a.parquet", b"PAR1" + os.urandom(1000) + b"PAR1", "cannot be read"),
        ("a.parquet", b"PAR1" + b"\0" * 10 + struct.pack("<i", 2**31 - 1) + b"PAR1", "cannot be read"),
    ],
    ids=range(17),
)
def test_broken_text_files_are_named(name, content, said, tmp_path):
    (tmp_path / name).write_bytes(content)
    refused(said, tmp_path / name)
    refused(str(tmp_path / name), tmp_path / name)


def test_a_spoiled_parquet_file_is_read_or_named(tmp_path):
    """A hundred files with a few bytes changed: rows, or one message."""
    rng, path = np.random.default_rng(0), tmp_path / "a.parquet"
    table = pa.table({"text": [f"{number} words and more words of row {number} " * 3 for number in range(200)], "n": np.arange(200)})
    parquet.write_table(table, path)
    sound, ends = path.read_bytes(), []
    for _ in range(100):
        spoiled = bytearray(sound)
        for place in rng.integers(len(sound), size=rng.choice([1, 5, 50])):
            spoiled[place] = rng.integers(256)
        path.write_bytes(bytes(spoiled[: rng.integers(len(sound))] if rng.random() < 0.2 else spoiled))
        ends.append(end_of(lambda: len(load(path)["train"]) > 0, path))
    assert {True, "refused"} <= set(ends)


def test_columns_that_hold_no_text(tmp_path):
    parquet.write_table(pa.table({"text": [1, 2], "other": ["a", None]}), tmp_path / "a.parquet")
    refused("record 0 of", tmp_path / "a.parquet")
    refused("record 1 of", tmp_path / "a.parquet", column="other")
    refused("has no column 'body'; it has ['text', 'other']", tmp_path / "a.parquet", column="body")


@pytest.mark.parametrize("path", ["~nobody-of-that-name/a.txt", "a\0b.txt", "x" * 5000, "nowhere.txt", ".", "/dev/zero", "a.txt/b.txt"])
def test_places_where_no_text_file_can_be(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("a")
    refused("data.path: ", path)


def test_one_line_of_a_gigabyte(tmp_path, monkeypatch):
    """Of nothing but zeros: refused after a piece of it. In JSON: refused at the line's limit. On a small machine: before it is read."""
    for name, said in (("a.txt", "is this text?"), ("a.jsonl", "line 1 of")):
        with (tmp_path / name).open("wb") as file:
            file.truncate(GIGABYTE)  # takes no room on the disk
        refused(said, tmp_path / name)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=GIGABYTE))
    refused("would take 1,000 MB; an experiment's data may take 250 MB on this machine", tmp_path / "a.txt")


def test_a_long_line_takes_no_more_memory_than_its_passages(tmp_path):
    """Forty megabytes in one line, in a process of its own: split into a list of words it would take seven times as much."""
    path = tmp_path / "a.txt"
    path.write_text("word " * 8_000_000)
    script = (
        "import resource, sys\n"
        "from autophagy.text.data import TextFile\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "TextFile(path=sys.argv[2]).load(eval_size=5)\n"
        "before = peak()\n"
        "assert len(TextFile(path=sys.argv[1]).load(eval_size=5)['train']) > 80_000\n"
        "print(peak() - before)"
    )
    (tmp_path / "small.txt").write_text("word " * 20_000)
    ran = subprocess.run([sys.executable, "-c", script, str(path), str(tmp_path / "small.txt")], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 4 * path.stat().st_size


# ---- images -------------------------------------------------------------------------------------------------------------


def png(width, height, *, data=b"", colour=0):
    """A PNG that says it has so many grey pixels."""
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))  # noqa: E731
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def folder_of_images(folder, n=12):
    folder.mkdir(exist_ok=True)
    for number in range(n):
        Image.fromarray(np.full((8, 8), number * 20, np.uint8)).save(folder / f"{number:02}.png")
    return folder


@pytest.mark.parametrize(
    ("name", "content", "said"),
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
def test_broken_images_and_bombs_are_named(name, content, said, tmp_path):
    folder = folder_of_images(tmp_path / "images")
    (folder / name).write_bytes(content)
    before = Image.MAX_IMAGE_PIXELS
    with recorded_side_effects() as deeds, pytest.raises(UserError) as caught:
        ImageFolder(path=str(folder), size=8).load(eval_size=3)
    assert said in str(caught.value) and str(folder / name) in str(caught.value)
    assert deeds == [] and before == Image.MAX_IMAGE_PIXELS == 89_478_485


def test_spoiled_images_are_read_or_named(tmp_path):
    """Three hundred files with a few bytes changed, of every common format."""
    rng, folder = np.random.default_rng(0), folder_of_images(tmp_path / "images", 3)
    picture, ends = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)), []
    for kind in ("png", "jpg", "gif", "bmp", "webp", "tiff", "tga", "ppm", "ico", "jp2"):
        path = folder / f"x.{kind}"
        picture.save(path)
        sound = path.read_bytes()
        for _ in range(30):
            spoiled = bytearray(sound)
            for place in rng.integers(min(len(sound), 200), size=rng.choice([1, 5, 50])):
                spoiled[place] = rng.integers(256)
            path.write_bytes(bytes(spoiled))
            ends.append(end_of(lambda: ImageFolder(path=str(folder), size=8).load(eval_size=1)["train"].array("image").shape, path))
        path.unlink()
    assert set(ends) == {(2, 8, 8, 3), "refused"}


def test_folders_links_and_loops_among_images(tmp_path):
    """A folder that is called x.png is no image; a link to an image is one; a circle of folders ends; a link to nothing is named."""
    folder = folder_of_images(tmp_path / "images")
    (folder / "x.png").mkdir()
    (folder / "again").symlink_to(folder, target_is_directory=True)
    (folder / "other.png").symlink_to(folder / "00.png")
    found = ImageFolder(path=str(folder), size=8, channels=1).load(eval_size=3)
    assert sum(map(len, found.values())) == 13
    for name, target in (("itself.png", "itself.png"), ("nothing.png", "nowhere.png")):
        (folder / name).symlink_to(folder / target)
        with pytest.raises(UserError, match=f"{name} cannot be read"):
            ImageFolder(path=str(folder), size=8).load(eval_size=3)
        (folder / name).unlink()
    for path in ("~nobody-of-that-name/x", "a\0b", "x" * 5000, str(tmp_path / "nowhere"), str(folder / "00.png")):
        with pytest.raises(UserError, match=r"data\.path: "):
            ImageFolder(path=path, size=8).load(eval_size=3)


def test_all_sizes_and_modes_become_one(tmp_path):
    """Mid-grey stays mid-grey in every mode: 16 bits a pixel once came out white."""
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
    with pytest.raises(UserError, match="its pixels are of mode F, which has no white; 8 and 16 bits a channel can be read"):
        ImageFolder(path=str(tmp_path)).load(eval_size=5)


def test_more_images_than_fit_into_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=GIGABYTE))
    with pytest.raises(UserError, match=r"12 images of 10,000 x 10,000 would take 3,600 MB"):
        ImageFolder(path=str(folder_of_images(tmp_path / "images")), size=10_000).load(eval_size=3)


def test_a_broken_mnist_and_a_pickled_cifar(tmp_path):
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


assert HubText and ComponentSpec and ROOT and json and resource
