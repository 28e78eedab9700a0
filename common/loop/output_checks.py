"""What the loop accepts of what its parts hand it. A part that gives something else is named and stops the run: a number that is none
would go round the loop, into every later model, and out at the other end as a result."""

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
    """UserError unless all splits have the same columns, of the same types, and finite numbers in them."""
    for name, pool in splits.items():
        if _types(pool) != _types(splits["train"]):
            raise UserError(f"data '{use}': {name} is {pool}, train is {splits['train']}; splits differ in nothing but their rows")
        _refuse_broken(pool, f"data '{use}': {name} holds")


def validate_fit(use: str, fitted: FitResult, *, rows: int) -> None:
    """UserError unless a fit says of every row how often it was seen and what that took, and its own numbers are finite."""
    if not isinstance(fitted, FitResult):
        raise UserError(f"generator '{use}': fit gave a {type(fitted).__name__}, it is to give `Fitted`")
    for name in ("visit_counts", "units_per_row"):
        values = np.asarray(getattr(fitted, name))
        if values.shape != (rows,) or not np.isfinite(values).all() or (values < 0).any():
            raise UserError(f"generator '{use}': `{name}` is to be a number >= 0 for each of {rows} rows, it is {_told(values)}")
    if fitted.consumed.sum() <= 0:
        raise UserError(f"generator '{use}': fit consumed no {fitted.unit}; there was nothing to learn from")
    if broken := [name for name, value in fitted.stats.items() if not np.isfinite(value)]:
        raise UserError(f"generator '{use}': fit gave {broken[0]} = {fitted.stats[broken[0]]}; what it says of itself must be finite")


def validate_weights(use: str, folder: Path) -> None:
    """UserError if what was learned holds a number that is none: every array in .npy and .safetensors files is looked at."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".npy":
            arrays = {path.stem: np.load(path, allow_pickle=False, mmap_mode="r")}
            broken = [name for name, values in arrays.items() if values.dtype.kind == "f" and not np.isfinite(values).all()]
        elif path.suffix == ".safetensors":
            broken = _broken_tensors(path)
        else:
            continue
        if broken:
            raise UserError(f"generator '{use}': its weights are not finite after the fit ({broken[0]} in {path.name})")


def _broken_tensors(path: Path) -> list[str]:
    with safe_open(path, "np") as file:
        names = list(file.keys())
        kinds = {name: file.get_slice(name).get_dtype() for name in names}
        broken = [name for name, kind in kinds.items() if kind in ("F16", "F32", "F64") and not np.isfinite(file.get_tensor(name)).all()]
    if narrow := [name for name, kind in kinds.items() if kind.startswith(("BF", "F8"))]:  # what numpy has no name for
        with safe_open(path, "pt") as file:
            broken += [name for name in narrow if not file.get_tensor(name).float().isfinite().all()]
    return broken


def validate_samples(use: str, generated: Pool, *, n: int, like: Pool) -> None:
    """UserError unless a generator made n rows of the columns, types and row shape it was trained on, with finite numbers."""
    if not isinstance(generated, Pool) or len(generated) != n or _types(generated) != _types(like):
        raise UserError(f"generator '{use}' was asked for {n} rows of {_columns(like)}, it gave {_told(generated)}")
    _refuse_broken(generated, f"generator '{use}' made")


def validate_curation(use: str, kept: CurationResult, *, candidates: Pool) -> None:
    """UserError unless a curation keeps rows there are, each once and in their order, and what it writes are rows like them."""
    rows = np.asarray(kept.rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or (np.diff(rows) <= 0).any() or (rows < 0).any() or (rows >= len(candidates)).any():
        raise UserError(
            f"curation '{use}': `rows` are numbers below {len(candidates)} in ascending order, none twice; it gave {_told(rows)}"
        )
    if kept.edited is not None:
        if len(kept.edited) != len(rows) or _types(kept.edited) != _types(candidates):
            raise UserError(f"curation '{use}' keeps {len(rows)} rows of {_columns(candidates)} and wrote {kept.edited}")
        _refuse_broken(kept.edited, f"curation '{use}' wrote")
    if broken := [name for name, value in kept.stats.items() if not np.isfinite(value)]:
        raise UserError(f"curation '{use}': {broken[0]} is {kept.stats[broken[0]]}; what it says of itself must be finite")


def validate_features(use: str, found: Mapping[str, np.ndarray], *, rows: int) -> None:
    """UserError unless a feature model gives `features` [rows, d], and nothing that is not finite."""
    if "features" not in found or np.ndim(found["features"]) != 2:
        shapes = {name: np.shape(values) for name, values in found.items()}
        raise UserError(f"features '{use}': `features` are to be [rows, d], it gave {short_repr(shapes)}")
    for name, values in found.items():
        if len(values) != rows or not np.isfinite(values).all():
            raise UserError(f"features '{use}': `{name}` is to hold finite numbers for {rows} rows, it is {_told(values)}")


def validate_metric_values(use: str, metric: Metric, values: Mapping[str, float]) -> None:
    """UserError unless a metric explains every number it gives, and each is finite."""
    for name, value in values.items():
        try:
            info_of(metric, name)
        except KeyError as error:
            raise UserError(f"metric '{use}' gives '{name}' and explains {', '.join(metric.outputs)}") from error
        if not np.isfinite(value):
            raise UserError(f"metric '{use}': {name} is {value}; a metric must stay finite")


def _types(pool: Pool) -> dict[str, object]:
    """The types of the data columns, row shapes included."""
    return {name: pool.table.schema.field(name).type for name in pool.columns}


def _columns(pool: Pool) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in _types(pool).items())


def _refuse_broken(pool: Pool, what: str) -> None:
    for name in pool.columns:
        values = pool.array(name)
        if values.dtype.kind == "f" and not (sound := np.isfinite(values).reshape(len(pool), -1).all(axis=1)).all():
            raise UserError(
                f"{what} numbers that are not finite in '{name}': {(~sound).sum()} of {len(pool)} rows, the first is {sound.argmin()}"
            )


def _told(given: object) -> str:
    """What was given instead, in a few words."""
    if isinstance(given, np.ndarray):
        broken = f", {np.count_nonzero(~np.isfinite(given))} of them not finite" if given.dtype.kind == "f" else ""
        return f"{given.dtype} of shape {given.shape}{broken}"
    return repr(given) if isinstance(given, Pool) else f"a {type(given).__name__}"
