"""Local text files as documents, each an iterator over its words, read piece by piece: no line and no file has to fit into memory twice."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ..common.core.errors import UserError, short_repr
from ..common.core.resources import check_memory

PIECE = 2**20
"""Bytes of a .txt file read at once."""
LONGEST_WORD = 2**20
"""Characters; a file with a longer run without any space is no text."""
LONGEST_LINE = 2**26
"""Bytes of a line of JSON."""


def documents(path: Path, *, column: str) -> Iterator[Iterable[str]]:
    """The documents of a .txt (one), .jsonl (one a line) or .parquet file (one a row), each as its words.

    UserError naming the file and the place if it is none, or more than fits into memory; OSError if it cannot be read.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"data.path: {path} is not a file")
    check_memory(path.stat().st_size, what=f"data.path: {path}")
    if path.suffix == ".parquet":
        yield from (text.split() for text in _texts(_parquet(path, column), column, path))
    elif path.suffix in (".jsonl", ".ndjson"):
        yield from (text.split() for text in _texts(_json_lines(path), column, path))
    else:
        yield _words(path)


def _words(path: Path) -> Iterator[str]:
    """The words of a UTF-8 file, one after the other."""
    decoder, before, rest = codecs.getincrementaldecoder("utf-8")(), 0, ""
    with path.open("rb") as file:
        while True:
            piece = file.read(PIECE)
            begins = before - len(decoder.getstate()[0])  # bytes of a character that the last piece cut are still to be decoded
            try:
                text = rest + decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                raise _not_utf8(path, error, begins=begins) from error
            found = text.split()
            rest = found.pop() if piece and found and not text[-1].isspace() else ""
            if len(rest) > LONGEST_WORD:
                raise UserError(f"data.path: {path} has {len(rest):,} characters without a space before byte {begins:,}; is this text?")
            yield from found
            if not piece:
                return
            before += len(piece)


def _json_lines(path: Path) -> Iterator[object]:
    number = 0
    with path.open("rb") as file:
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise UserError(f"data.path: line {number} of {path} has more than {LONGEST_LINE:,} bytes")
            if not line.strip():
                continue
            try:
                yield json.loads(line.decode())
            except UnicodeDecodeError as error:
                raise _not_utf8(path, error, begins=file.tell() - len(line)) from error
            except (ValueError, RecursionError) as error:
                raise UserError(f"data.path: {path} cannot be read: line {number} is not JSON: {error}") from error


def _parquet(path: Path, column: str) -> Iterator[object]:
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        file = parquet.ParquetFile(path)
        if column not in file.schema_arrow.names:
            raise UserError(f"data.column: {path} has no column '{column}'; it has {short_repr(file.schema_arrow.names)}")
        for batch in file.iter_batches(columns=[column]):
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"data.path: {path} cannot be read: {error}") from error


def _texts(records: Iterable[object], column: str, path: Path) -> Iterator[str]:
    for number, record in enumerate(records):
        text = record.get(column) if isinstance(record, Mapping) else None
        if not isinstance(text, str):
            names = sorted(record) if isinstance(record, Mapping) else record
            raise UserError(f"data.column: record {number} of {path} has no text in '{column}'; it has {short_repr(names)}")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"data.column: record {number} of {path} holds half a character (a lone surrogate): {error}") from error
        yield text


def _not_utf8(path: Path, error: UnicodeDecodeError, *, begins: int) -> UserError:
    return UserError(f"data.path: {path} is not UTF-8: byte {begins + error.start:,} is {error.object[error.start]:#04x}")
