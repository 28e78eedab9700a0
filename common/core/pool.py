"""Pool: an immutable table of samples. Data sets, generators, policies and metrics exchange samples only as pools."""

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
"""The value of the column `_generation` for real rows."""
EDITED = "edited"
"""The value of the column `_source` for real rows that a model has partly rewritten."""


class Pool:
    """An immutable table of samples. Row i of every column belongs to sample i. Methods return new pools.

    Data columns contain the samples (`text`: string; `image`: uint8 [n, h, w, c]; `label`: int64 [n]). Columns with a leading
    underscore are *notes* (metadata columns). For example, `_generation` is the generation whose model made the row, or -1 for
    a real row. Notes stay with their rows but are not part of `digest`, because a model is trained on the samples only.

    Raises ValueError for columns of unsupported types and for null values.
    """

    def __init__(self, table: pa.Table):
        for field in table.schema:
            if not _supported(field.type):
                raise ValueError(f"column '{field.name}' has type {field.type}, but a pool holds only strings, numbers and arrays")
            if nulls := table[field.name].null_count:
                raise ValueError(f"column '{field.name}' has {nulls} null values in {table.num_rows} rows; remove or replace them")
        self.table = table

    @classmethod
    def of(cls, **columns: Any) -> Pool:
        """Make a pool from one numpy array [n, ...] or one sequence of n strings per column."""
        return cls(pa.table({name: _column(values) for name, values in columns.items()}))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __repr__(self) -> str:
        return f"Pool({len(self)} rows: {', '.join(f'{f.name} {f.type}' for f in self.table.schema)})"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the data columns, without the notes (metadata columns)."""
        return tuple(name for name in self.table.column_names if not name.startswith("_"))

    def __contains__(self, column: str) -> bool:
        return column in self.table.column_names

    def array(self, column: str) -> np.ndarray:
        """Return a column as an array [n, ...]. Strings give an object array.

        The array shares memory with the pool and is read-only where Arrow supports this.
        """
        chunked = self.table[column]
        if isinstance(chunked.type, pa.FixedShapeTensorType):
            if not len(chunked):
                return np.empty((0, *chunked.type.shape), chunked.type.value_type.to_pandas_dtype())
            return np.asarray(chunked.combine_chunks().to_numpy_ndarray())
        return np.asarray(chunked.to_numpy())

    def list(self, column: str) -> list[Any]:
        """Return a column as a Python list."""
        values: list[Any] = self.table[column].to_pylist()
        return values

    def take(self, rows: Sequence[int] | np.ndarray) -> Pool:
        """Return the rows with these row numbers (0-based), in this order. Row numbers may repeat."""
        return Pool(self.table.take(pa.array(np.asarray(rows, dtype=np.int64))))

    def slice(self, start: int, stop: int) -> Pool:
        """Return the rows from `start` to `stop` (exclusive) without copying them."""
        return Pool(self.table.slice(start, max(0, stop - start)))

    def choose(self, n: int, rng: np.random.Generator) -> Pool:
        """Draw n random rows without replacement. They keep their order. Raises ValueError if the pool has fewer than n rows."""
        if not 0 <= n <= len(self):
            raise ValueError(f"cannot choose {n} of {len(self)} rows without replacement")
        if n == len(self):
            return self
        return self.take(np.sort(rng.choice(len(self), size=n, replace=False)))

    def only(self, columns: Sequence[str]) -> Pool:
        """Return the pool with only these data columns and all notes."""
        return Pool(self.table.select([name for name in self.table.column_names if name in columns or name.startswith("_")]))

    def note(self, **notes: Any) -> Pool:
        """Return the pool with notes added or replaced.

        `generation=3` sets the column `_generation` to 3 in all rows. An array [n] sets one value per row.
        """
        table = self.table
        for name, values in notes.items():
            column = pa.array(np.broadcast_to(np.asarray(values), (len(self),)))
            index = table.schema.get_field_index(f"_{name}")
            if index >= 0:
                table = table.set_column(index, f"_{name}", column)
            else:
                table = table.append_column(f"_{name}", column)
        return Pool(table)

    def without(self, *notes: str) -> Pool:
        """Return the pool without these notes. Names are given without the underscore."""
        return Pool(self.table.drop_columns([f"_{name}" for name in notes]))

    def bare(self) -> Pool:
        """Return the pool without any notes."""
        return Pool(self.table.select(self.columns))

    def with_data(self, data: Pool) -> Pool:
        """Return the samples of `data` with the notes of this pool. Both pools must have the same number of rows."""
        notes = self.table.select([name for name in self.table.column_names if name.startswith("_")])
        table = data.table
        for name in notes.column_names:
            table = table.append_column(name, notes[name])
        return Pool(table)

    def row_digests(self) -> Sequence[bytes]:
        """Compute the SHA-256 digest of the data columns of every row. Equal rows have equal digests."""
        columns = [
            [text.encode() for text in self.list(name)]
            if pa.types.is_string(self.table.schema.field(name).type)
            else [row.tobytes() for row in np.ascontiguousarray(self.array(name))]
            for name in sorted(self.columns)
        ]
        return [hashlib.sha256(b"\0".join(hashlib.sha256(value).digest() for value in row)).digest() for row in zip(*columns, strict=True)]

    @staticmethod
    def concat(pools: Iterable[Pool]) -> Pool:
        """Concatenate pools without copying rows. Raises ValueError if the pools differ in columns or types."""
        pools = list(pools)
        if not pools:
            raise ValueError("cannot concatenate an empty list of pools")
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
        """SHA-256 digest of the names, types and values of the data columns. Notes, chunks and file bytes do not change it."""
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
        """Write the pool to `pool.arrow` (Arrow IPC). pandas, polars, DuckDB and Hugging Face datasets can open this file."""
        self.write(folder / "pool.arrow")

    def write(self, path: Path) -> None:
        """Write the table as an Arrow IPC file. The file is not compressed, so that it can be memory-mapped."""
        pa.feather.write_feather(self.table, str(path), compression="uncompressed")

    @classmethod
    def load(cls, folder: Path) -> Pool:
        """Load a pool that `save` wrote. The file is memory-mapped."""
        return cls(pa.feather.read_table(str(folder / "pool.arrow"), memory_map=True))


def _supported(kind: pa.DataType) -> bool:
    """Return True if a pool may have columns of this type."""
    if isinstance(kind, pa.FixedShapeTensorType):
        kind = kind.value_type
    return any(accepts(kind) for accepts in (pa.types.is_string, pa.types.is_integer, pa.types.is_floating))


def _column(values: Any) -> pa.Array:
    """Convert an array [n, ...] or a sequence of strings to an Arrow column."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        if values.ndim == 1:
            return pa.array(values)
        rows = values if len(values) else np.zeros((1, *values.shape[1:]), values.dtype)  # Arrow rejects tensors without rows
        return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(rows)).slice(0, len(values))
    return pa.array([str(value) for value in values], type=pa.string())


def count_by_generation(pool: Pool) -> Mapping[int, int]:
    """Count the rows of each generation, in ascending order of the generation. -1 stands for real rows."""
    values, counts = np.unique(pool.array("_generation"), return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}
