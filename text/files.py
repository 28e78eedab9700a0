"""Reads local text files as a stream of documents, each an iterator over its words.

Files are read in pieces, so neither a file nor a line of plain text is in memory as a whole.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ..common.core.errors import UserError, short_repr
from ..common.core.resources import check_memory

PIECE_BYTES = 2**20
"""Bytes of a .txt file read at once."""
MAX_WORD_CHARACTERS = 2**20
"""A file with a longer run of characters without a space is not text."""
MAX_LINE_BYTES = 2**26
"""Longest line of a JSON Lines file."""


def documents(path: Path, *, column: str) -> Iterator[Iterable[str]]:
    """Yield the documents of a file as iterators over words. .txt is one document, .jsonl has one per line, .parquet has one per row.

    Raises UserError, naming the file and the position, if the content is invalid or does not fit into memory, and OSError if the file
    cannot be read.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"data.path: {path} is not a file")
    check_memory(path.stat().st_size, what=f"data.path: {path}")
    if path.suffix == ".parquet":
        yield from (text.split() for text in _texts(_parquet_records(path, column), column, path))
    elif path.suffix in (".jsonl", ".ndjson"):
        yield from (text.split() for text in _texts(_json_records(path), column, path))
    else:
        yield _words(path)


def _words(path: Path) -> Iterator[str]:
    """Yield the words of a UTF-8 file."""
    decoder, bytes_read, cut_word = codecs.getincrementaldecoder("utf-8")(), 0, ""
    with path.open("rb") as file:
        while True:
            piece = file.read(PIECE_BYTES)
            start = bytes_read - len(decoder.getstate()[0])  # the decoder holds the first bytes of a character that the last piece cut
            try:
                text = cut_word + decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                raise _not_utf8(path, error, start=start) from error
            words = text.split()
            cut_word = words.pop() if piece and words and not text[-1].isspace() else ""
            if len(cut_word) > MAX_WORD_CHARACTERS:
                raise UserError(
                    f"data.path: {path} has {len(cut_word):,} characters without a space before byte {start:,}; is this a text file?"
                )
            yield from words
            if not piece:
                return
            bytes_read += len(piece)


def _json_records(path: Path) -> Iterator[object]:
    number = 0
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise UserError(f"data.path: {path}, line {number} has more than {MAX_LINE_BYTES:,} bytes; split it into shorter documents")
            if not line.strip():
                continue
            try:
                yield json.loads(line.decode())
            except UnicodeDecodeError as error:
                raise _not_utf8(path, error, start=file.tell() - len(line)) from error
            except (ValueError, RecursionError) as error:
                raise UserError(f"data.path: {path}, line {number} is not valid JSON: {error}") from error


def _parquet_records(path: Path, column: str) -> Iterator[object]:
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        file = parquet.ParquetFile(path)
        if column not in file.schema_arrow.names:
            raise UserError(f"data.column: {path} has no column '{column}'; it has {short_repr(file.schema_arrow.names)}")
        for batch in file.iter_batches(columns=[column]):
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"data.path: {path} cannot be read as Parquet: {error}") from error


def _texts(records: Iterable[object], column: str, path: Path) -> Iterator[str]:
    """Yield the text of each record. Raises UserError, naming the record, if it has none."""
    for number, record in enumerate(records):
        where = f"data.column: {path}, record {number}"
        if not isinstance(record, Mapping):
            raise UserError(f"{where}: expected an object with the key '{column}', not {short_repr(record)}")
        if column not in record:
            raise UserError(f"{where}: there is no column '{column}'; the record has {short_repr(sorted(record))}")
        text = record[column]
        if text is None:
            raise UserError(f"{where}: column '{column}' is null")
        if not isinstance(text, str):
            raise UserError(f"{where}: column '{column}' holds {short_repr(text)}, which is not text")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{where}: column '{column}' has half of a surrogate pair, which is not valid Unicode: {error}") from error
        yield text


def _not_utf8(path: Path, error: UnicodeDecodeError, *, start: int) -> UserError:
    """Return the error for bytes that are not UTF-8. `start` is the position in the file of the bytes that were decoded."""
    return UserError(f"data.path: {path} is not UTF-8: byte {start + error.start:,} is {error.object[error.start]:#04x}")
