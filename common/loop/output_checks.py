"""Validates the return values of plug-ins. NaN, wrong shapes and wrong types raise an error that names the plug-in. Otherwise, they
would reach later generations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import safe_open

from ..components.curation import CurationResult
from ..components.generator import FitResult
from ..components.metric import Metric, info_of
from ..core.errors import UserError, short_repr
from ..core.pool import Pool


def validate_data(use: str, splits: Mapping[str, Pool]) -> None:
    """Check that all splits have the same columns and types and contain finite numbers only."""
    for name, pool in splits.items():
        if _types(pool) != _types(splits["train"]):
            raise UserError(
                f"data '{use}': split '{name}' has the columns {_columns(pool)}, but train has {_columns(splits['train'])}; "
                "all splits must have the same columns"
            )
        _check_finite(pool, f"data '{use}': split '{name}'")


def validate_fit(use: str, result: FitResult, *, rows: int) -> None:
    """Check that a fit reports a visit count and a number of units for each training row, and that its statistics are finite."""
    if not isinstance(result, FitResult):
        raise UserError(f"generator '{use}': fit returned a {type(result).__name__}, expected a FitResult")
    for name, values in {"visit_counts": np.asarray(result.visit_counts), "units_per_row": np.asarray(result.units_per_row)}.items():
        if values.shape != (rows,) or not np.isfinite(values).all() or (values < 0).any():
            raise UserError(f"generator '{use}': `{name}` must hold a finite number >= 0 for each of {rows} rows, got {_describe(values)}")
    if result.consumed.sum() <= 0:
        raise UserError(f"generator '{use}': fit consumed no {result.unit}, so nothing was learned; every row was empty or skipped")
    if broken := [name for name, value in result.stats.items() if not np.isfinite(value)]:
        raise UserError(f"generator '{use}': fit reported {broken[0]} = {result.stats[broken[0]]}, expected a finite number")


def validate_weights(use: str, folder: Path) -> None:
    """Check all arrays in the .npy and .safetensors files of a model. No weight may be NaN or infinite."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".npy":
            arrays = {path.stem: np.load(path, allow_pickle=False, mmap_mode="r")}
            broken = [name for name, values in arrays.items() if values.dtype.kind == "f" and not np.isfinite(values).all()]
        elif path.suffix == ".safetensors":
            broken = _broken_tensors(path)
        else:
            continue
        if broken:
            raise UserError(
                f"generator '{use}': its weights are not finite after the fit ({broken[0]} in {path.name}); training diverged, "
                "so try a lower learning rate"
            )


def _broken_tensors(path: Path) -> list[str]:
    """Return the names of the tensors with NaN or infinite values."""
    with safe_open(path, "np") as file:
        names = list(file.keys())
        dtypes = {name: file.get_slice(name).get_dtype() for name in names}
        broken = [name for name, dtype in dtypes.items() if dtype in ("F16", "F32", "F64") and not np.isfinite(file.get_tensor(name)).all()]
    if narrow := [name for name, dtype in dtypes.items() if dtype.startswith(("BF", "F8"))]:  # numpy does not support these types
        with safe_open(path, "pt") as file:
            broken += [name for name in narrow if not file.get_tensor(name).float().isfinite().all()]
    return broken


def validate_samples(use: str, generated: Pool, *, n: int, like: Pool) -> None:
    """Check that a generator returned n rows with the columns, types and row shapes of its training pool, and finite numbers."""
    if not isinstance(generated, Pool) or len(generated) != n or _types(generated) != _types(like):
        raise UserError(f"generator '{use}': sample must return {n} rows of {_columns(like)}, got {_describe(generated)}")
    _check_finite(generated, f"generator '{use}': sample")


def validate_curation(use: str, result: CurationResult, *, candidates: Pool) -> None:
    """Check that `rows` are row numbers of candidates, in ascending order without repeats, and that edited rows have the same types."""
    rows = np.asarray(result.rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or (np.diff(rows) <= 0).any() or (rows < 0).any() or (rows >= len(candidates)).any():
        raise UserError(
            f"curation '{use}': `rows` must be ascending row numbers below {len(candidates)} without repeats, got {_describe(rows)}"
        )
    if result.edited is not None:
        if len(result.edited) != len(rows) or _types(result.edited) != _types(candidates):
            raise UserError(f"curation '{use}': `edited` must be {len(rows)} rows of {_columns(candidates)}, got {result.edited}")
        _check_finite(result.edited, f"curation '{use}': `edited`")
    if broken := [name for name, value in result.stats.items() if not np.isfinite(value)]:
        raise UserError(f"curation '{use}': reported {broken[0]} = {result.stats[broken[0]]}, expected a finite number")


def validate_features(use: str, arrays: Mapping[str, np.ndarray], *, rows: int) -> None:
    """Check that a feature model returns `features` [rows, d], and that each of its arrays is finite and has `rows` rows."""
    if "features" not in arrays or np.ndim(arrays["features"]) != 2:
        shapes = {name: np.shape(values) for name, values in arrays.items()}
        raise UserError(f"features '{use}': `features` must have the shape [rows, d], got {short_repr(shapes)}")
    for name, values in arrays.items():
        if len(values) != rows or not np.isfinite(values).all():
            raise UserError(f"features '{use}': `{name}` must hold finite numbers for {rows} rows, got {_describe(values)}")


def validate_metric_values(use: str, metric: Metric, values: Mapping[str, float]) -> None:
    """Check that the `outputs` of a metric describe every value that it returns, and that all values are finite."""
    for name, value in values.items():
        try:
            info_of(metric, name)
        except KeyError as error:
            raise UserError(f"metric '{use}': returned '{name}', but its `outputs` describe {', '.join(metric.outputs)}") from error
        if not np.isfinite(value):
            raise UserError(f"metric '{use}': {name} is {value}, expected a finite number")


def _types(pool: Pool) -> dict[str, object]:
    """Return the types of the data columns, including row shapes."""
    return {name: pool.table.schema.field(name).type for name in pool.columns}


def _columns(pool: Pool) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in _types(pool).items())


def _check_finite(pool: Pool, where: str) -> None:
    """Raise UserError if a column contains NaN or infinity. `where`: start of the message."""
    for name in pool.columns:
        values = pool.array(name)
        if values.dtype.kind == "f":
            finite = np.isfinite(values).reshape(len(pool), -1).all(axis=1)
            if not finite.all():
                raise UserError(
                    f"{where}: column '{name}' is not finite in {(~finite).sum()} of {len(pool)} rows, first in row {finite.argmin()}"
                )


def _describe(value: object) -> str:
    """Describe a value in a message. For an array: dtype, shape and number of non-finite values."""
    if isinstance(value, np.ndarray):
        broken = f" with {np.count_nonzero(~np.isfinite(value))} values that are not finite" if value.dtype.kind == "f" else ""
        return f"{value.dtype} of shape {value.shape}{broken}"
    return repr(value) if isinstance(value, Pool) else f"a {type(value).__name__}"
