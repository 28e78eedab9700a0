"""Pool: a table of samples, the only thing that data, generators, policies and metrics hand to each other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather

REAL = -1
"""The birth generation of a real row."""
EDITED = "edited"
"""The source of a row that was real until a model rewrote some of it."""


class Pool:
    """A table of samples; row i of every column belongs to sample i. Never edited, only derived.

    Columns are data (`text`: string; `image`: uint8 [n, h, w, c]; `label`: int64 [n]) or, with a leading underscore,
    notes about a row (`_generation`: the generation that made it, -1 for real). Notes travel with rows, but `digest`
    leaves them out: two pools with the same samples train the same model, whatever is written beside them.
    """

    def __init__(self, table: pa.Table):
        for field in table.schema:
            if not _supported(field.type):
                raise ValueError(f"column '{field.name}' has type {field.type}; a pool holds strings, numbers and arrays of them")
            if table[field.name].null_count:
                raise ValueError(f"column '{field.name}' has {table[field.name].null_count} empty values; a pool has none")
        self.table = table

    @classmethod
    def of(cls, **columns: Any) -> Pool:
        """A pool from numpy arrays (any shape [n, ...]) or sequences of strings."""
        return cls(pa.table({name: _column(values) for name, values in columns.items()}))

    def __len__(self) -> int:
        return self.table.num_rows

    def __repr__(self) -> str:
        return f"Pool({len(self)} rows: {', '.join(f'{f.name} {f.type}' for f in self.table.schema)})"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the data columns (without the notes)."""
        return tuple(name for name in self.table.column_names if not name.startswith("_"))

    def __contains__(self, column: str) -> bool:
        return column in self.table.column_names

    def array(self, column: str) -> np.ndarray:
        """A column as an array [n, ...], zero-copy where Arrow allows; strings come as an object array."""
        chunked = self.table[column]
        if isinstance(chunked.type, pa.FixedShapeTensorType):
            if not len(chunked):
                return np.empty((0, *chunked.type.shape), chunked.type.value_type.to_pandas_dtype())
            return chunked.combine_chunks().to_numpy_ndarray()
        return chunked.to_numpy()

    def list(self, column: str) -> list[Any]:
        """A column as a Python list."""
        return self.table[column].to_pylist()

    def take(self, rows: Sequence[int] | np.ndarray) -> Pool:
        """The named rows, in the order given."""
        return Pool(self.table.take(pa.array(np.asarray(rows, dtype=np.int64))))

    def slice(self, start: int, stop: int) -> Pool:
        """Rows start to stop (exclusive), zero-copy."""
        return Pool(self.table.slice(start, max(0, stop - start)))

    def choose(self, n: int, rng: np.random.Generator) -> Pool:
        """n rows drawn without replacement, kept in their order, so that equal choices are equal pools."""
        if not 0 <= n <= len(self):
            raise ValueError(f"cannot choose {n} of {len(self)} rows without replacement")
        if n == len(self):
            return self
        return self.take(np.sort(rng.choice(len(self), size=n, replace=False)))

    def only(self, columns: Sequence[str]) -> Pool:
        """The same rows with these data columns alone; notes stay."""
        return Pool(self.table.select([name for name in self.table.column_names if name in columns or name.startswith("_")]))

    def note(self, **notes: Any) -> Pool:
        """The same samples with notes beside them; `generation=3` writes the column `_generation`, one value a row."""
        table = self.table
        for name, values in notes.items():
            column = pa.array(np.broadcast_to(np.asarray(values), (len(self),)))
            where = table.schema.get_field_index(f"_{name}")
            if where >= 0:
                table = table.set_column(where, f"_{name}", column)
            else:
                table = table.append_column(f"_{name}", column)
        return Pool(table)

    def without(self, *notes: str) -> Pool:
        """The same samples without these notes."""
        return Pool(self.table.drop_columns([f"_{name}" for name in notes]))

    def bare(self) -> Pool:
        """The same samples without any note."""
        return Pool(self.table.select(self.columns))

    def with_data(self, data: Pool) -> Pool:
        """The rows of `data`, one for each row here, with the notes from here."""
        notes = self.table.select([name for name in self.table.column_names if name.startswith("_")])
        table = data.table
        for name in notes.column_names:
            table = table.append_column(name, notes[name])
        return Pool(table)

    def row_digests(self) -> list[bytes]:
        """sha256 of the data of every row; equal rows have equal digests."""
        columns = [
            [text.encode() for text in self.list(name)]
            if pa.types.is_string(self.table.schema.field(name).type)
            else [row.tobytes() for row in np.ascontiguousarray(self.array(name))]
            for name in sorted(self.columns)
        ]
        return [hashlib.sha256(b"\0".join(hashlib.sha256(value).digest() for value in row)).digest() for row in zip(*columns, strict=True)]

    @staticmethod
    def concat(pools: Iterable[Pool]) -> Pool:
        """All rows of all pools, one after the other, zero-copy; the columns must agree exactly."""
        pools = list(pools)
        if not pools:
            raise ValueError("nothing to concatenate: no pool was given")
        first = pools[0].table
        tables = [first]
        for pool in pools[1:]:
            if set(pool.table.column_names) != set(first.column_names):
                raise ValueError(f"pools differ in their columns: {first.column_names} and {pool.table.column_names}")
            table = pool.table.select(first.column_names)
            if table.schema.types != first.schema.types:
                raise ValueError(f"pools differ in their types: {first.schema.types} and {table.schema.types}")
            tables.append(table)
        return Pool(pa.concat_tables(tables))

    @cached_property
    def digest(self) -> str:
        """sha256 of names, types and values of the data columns: not of file bytes, chunks or notes."""
        sha = hashlib.sha256()
        for name in sorted(self.columns):
            sha.update(f"{name}:{self.table.schema.field(name).type}:{len(self)};".encode())
            if pa.types.is_string(self.table.schema.field(name).type):
                texts = [text.encode() for text in self.list(name)]
                sha.update(np.array([len(text) for text in texts], dtype="<i8").tobytes())
                sha.update(b"".join(texts))
            else:
                sha.update(np.ascontiguousarray(self.array(name)).tobytes())
        return sha.hexdigest()

    def save(self, folder: Path) -> None:
        """Write `pool.arrow` (Arrow IPC), which pandas, polars, DuckDB and HF datasets open."""
        self.write(folder / "pool.arrow")

    def write(self, path: Path) -> None:
        """Write the table as an Arrow IPC file, uncompressed, so that it can be memory-mapped."""
        pa.feather.write_feather(self.table, str(path), compression="uncompressed")

    @classmethod
    def load(cls, folder: Path) -> Pool:
        """Read what `save` wrote, memory-mapped."""
        return cls(pa.feather.read_table(str(folder / "pool.arrow"), memory_map=True))


def _supported(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.FixedShapeTensorType):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _column(values: Any) -> pa.Array:
    if isinstance(values, np.ndarray) and values.dtype != object:
        if values.ndim == 1:
            return pa.array(values)
        some = values if len(values) else np.zeros((1, *values.shape[1:]), values.dtype)  # Arrow makes no tensors of no rows
        return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(some)).slice(0, len(values))
    return pa.array([str(value) for value in values], type=pa.string())


def count_by_generation(pool: Pool) -> Mapping[int, int]:
    """How many rows of a pool were born in which generation (-1: real), oldest first."""
    values, counts = np.unique(pool.array("_generation"), return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}
