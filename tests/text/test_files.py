"""Local text files: valid ones are split the same way however they are read; invalid ones raise one message with file and position."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from autophagy import UserError
from autophagy.text import files
from autophagy.text.data import TextFile, passages

GIGABYTE = 10**9


def load(path, **settings):
    return TextFile(path=str(path), words=10, **settings).load(eval_size=5)


def check_error(message, path, **settings):
    """Loading raises a UserError that contains `message` and is short."""
    with pytest.raises(UserError) as caught:
        load(path, **settings)
    assert message in str(caught.value) and len(str(caught.value)) < 1000, str(caught.value)


def outcome(read, path):
    """The result of `read`, or "error names the file" for a UserError that does. Other exceptions are returned."""
    try:
        return read()
    except UserError as error:
        return "error names the file" if str(path) in str(error) else error


def test_words_do_not_depend_on_the_size_of_the_pieces_read(tmp_path, monkeypatch):
    """Pieces end within words, within characters and on spaces. The text has every kind of space that `str.split` knows."""
    rng = np.random.default_rng(0)
    letters = np.array([*"abc", "é", "語", "😀", " ", " ", " ", "\n", "\r\n", "\t", "\u2028", "\x1f", "\xa0"])
    text = "".join(rng.choice(letters, 5000))
    (tmp_path / "a.txt").write_bytes(text.encode())
    for piece in (1, 2, 3, 7, 100, 10**6):
        monkeypatch.setattr(files, "PIECE_BYTES", piece)
        [document] = files.documents(tmp_path / "a.txt", column="")
        assert list(document) == text.split()
    splits = load(tmp_path / "a.txt", base_share=0)
    assert sorted(row for pool in splits.values() for row in pool.list("text")) == sorted(passages([text], words=10))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "has 0 rows; eval_size = 5 alone takes 10"),
        ("a.txt", b" \n\t " * 999, "has 0 rows"),
        ("a.txt", b"word " * 300_000 + b"\xff word", "is not UTF-8: byte 1,500,000 is 0xff"),
        ("a.txt", b"word " * 300 + "é".encode()[:1], "is not UTF-8: byte 1,500 is 0xc3"),
        ("a.txt", b"x" * 3_000_000, "characters without a space before byte 1,048,576; is this a text file?"),
        ("a.txt", "word ".encode("utf-16") * 999, "is not UTF-8: byte 0 is 0xff"),
        ("a.jsonl", b"\xff", "is not UTF-8: byte 0 is 0xff"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "\xff"}', "is not UTF-8: byte 24 is 0xff"),
        ("a.jsonl", b"[" * 100_000, "line 1 is not valid JSON: maximum recursion depth exceeded"),
        ("a.jsonl", b'{"text": "a"}\n' + b'{"text": ' * 50_000, "line 2 is not valid JSON"),
        ("a.jsonl", b'{"text": ' + b"9" * 5000 + b"}", "line 1 is not valid JSON: Exceeds the limit"),
        ("a.jsonl", b'{"text": NaN}', "record 0: column 'text' holds nan, which is not text"),
        ("a.jsonl", b'{"text": null}', "record 0: column 'text' is null"),
        ("a.jsonl", b'["text"]', "record 0: expected an object with the key 'text', not ['text']"),
        ("a.jsonl", b'{"' + b"x" * 10_000 + b'": 1}', "record 0: there is no column 'text'; the record has ['xxx"),
        ("a.parquet", b"", "cannot be read"),
        ("a.parquet", b"PAR1" + os.urandom(1000) + b"PAR1", "cannot be read"),
        ("a.parquet", b"PAR1" + b"\0" * 10 + struct.pack("<i", 2**31 - 1) + b"PAR1", "cannot be read"),
    ],
    ids=range(18),
)
def test_invalid_text_file_is_named_with_the_position(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    check_error(message, tmp_path / name)
    check_error(str(tmp_path / name), tmp_path / name)


def test_corrupt_parquet_file_is_read_or_named(tmp_path):
    """A hundred files with a few random bytes changed. Each loads, or raises one UserError that names the file."""
    rng, path = np.random.default_rng(0), tmp_path / "a.parquet"
    table = pa.table({"text": [f"{number} words and more words of row {number} " * 3 for number in range(200)], "n": np.arange(200)})
    parquet.write_table(table, path)
    intact, outcomes = path.read_bytes(), []
    for _ in range(100):
        corrupt = bytearray(intact)
        for place in rng.integers(len(intact), size=rng.choice([1, 5, 50])):
            corrupt[place] = rng.integers(256)
        path.write_bytes(bytes(corrupt[: rng.integers(len(intact))] if rng.random() < 0.2 else corrupt))
        outcomes.append(outcome(lambda: len(load(path)["train"]) > 0, path))
    assert {True, "error names the file"} == set(outcomes)


def test_column_without_text_is_named(tmp_path):
    parquet.write_table(pa.table({"text": [1, 2], "other": ["a", None]}), tmp_path / "a.parquet")
    check_error("record 0: column 'text' holds 1, which is not text", tmp_path / "a.parquet")
    check_error("record 1: column 'other' is null", tmp_path / "a.parquet", column="other")
    check_error("has no column 'body'; it has ['text', 'other']", tmp_path / "a.parquet", column="body")


@pytest.mark.parametrize("path", ["~nobody-of-that-name/a.txt", "a\0b.txt", "x" * 5000, "nowhere.txt", ".", "/dev/zero", "a.txt/b.txt"])
def test_invalid_path_is_named(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("a")
    check_error("data.path: ", path)


def test_line_of_a_gigabyte_is_rejected_early(tmp_path, monkeypatch):
    """Text is rejected after one piece, JSON at the length limit of a line, and any file before reading if memory is too small."""
    for name, message in (("a.txt", "is this a text file?"), ("a.jsonl", "line 1 has more than 67,108,864 bytes")):
        with (tmp_path / name).open("wb") as file:
            file.truncate(GIGABYTE)  # a sparse file
        check_error(message, tmp_path / name)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=GIGABYTE))
    check_error("would take 1,000 MB; an experiment's data may take 250 MB on this machine", tmp_path / "a.txt")


def test_long_line_needs_little_memory(tmp_path):
    """40 MB in one line, loaded in a new process. As a list of words it would need seven times its size."""
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
    process = subprocess.run(
        [sys.executable, "-c", script, str(path), str(tmp_path / "small.txt")], capture_output=True, text=True, check=True
    )
    assert int(process.stdout) < 4 * path.stat().st_size
