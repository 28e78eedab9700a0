"""Checks that a generator satisfies the contract `Generator`. Authors of plug-ins call `check` in their own tests:

def test_my_generator():
    check(lambda: MyGenerator(steps=3), pool=Pool.of(x=np.random.default_rng(0).standard_normal((20, 2))))
"""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.device import device as current_device
from ..core.device import set_random_state
from ..core.pool import Pool
from ..core.runtime import use_device
from .generator import FitResult, Generator, Scores, supports_labels

PICKLE_SUFFIXES = (".pkl", ".pickle", ".pt", ".bin")


class BrokenRequirement(AssertionError):
    """Raised if a requirement of `Generator` is not met."""


def check(make: Callable[[], Generator], pool: Pool, *, n: int = 7, device: str = "cpu") -> None:
    """Raise AssertionError if a generator breaks a requirement of `Generator`. The message explains the reason and the fix.

    make: returns a new instance. Its settings should be small, so that a fit takes seconds. pool: at least n real rows for the
    fit. If the pool has labels and the generator is `conditional`, the checks run without and with labels.
    device: the device for models. With `pretend` (see `pretend_device.py`), a machine without a GPU finds code that would fail on
    one: tensors left on the host raise RuntimeError or TypeError.
    """
    columns = make().columns
    if device == "pretend":
        from .pretend_device import register

        register()
    try:
        with use_device(device):
            _check(make, pool.only(columns), n=n)
            if supports_labels(make()) and "label" in pool:
                _check(make, pool.only((*columns, "label")), n=n)
    except BrokenRequirement as error:
        raise AssertionError(f"{type(make()).__name__}: {error}") from error


@dataclass(frozen=True)
class _Setup:
    """The common inputs of all checks."""

    make: Callable[[], Generator]
    pool: Pool
    n: int
    folder: Callable[[str], Path]
    """Creates a folder with this name."""


def _check(make: Callable[[], Generator], pool: Pool, *, n: int) -> None:
    """Run all checks on one pool."""
    with _temporary_folders() as folder:
        setup = _Setup(make, pool, n, folder)
        _import_libraries(setup)
        with _global_state_unchanged():
            _check_promises(setup)


def _import_libraries(setup: _Setup) -> None:
    """Use the generator once, so that libraries which it imports lazily are loaded. Loading some of them changes global random states."""
    _ = setup.pool.digest  # cached before any fit, so that the checks notice a fit that changes its pool
    with _different_global_state():
        generator = setup.make()
        generator.fit(setup.pool, seed=0, scratch=setup.folder("first-use"))
        generator.sample(1, seed=0)
        if isinstance(generator, Scores):
            generator.score(setup.pool)


def _check_promises(setup: _Setup) -> None:
    """Run the checks of every requirement of the contract."""
    generator, twin = _check_fit(setup)
    generated = _check_sampling(setup, generator, twin)
    loaded = _check_saving(setup, generator, twin, generated)
    _check_scores(setup, generator, loaded)
    _check_refit(setup, loaded, generated)


def _check_fit(setup: _Setup) -> tuple[Generator, Generator]:
    """Check `fit`. Returns two generators fitted with the same seed but under different global random states."""
    digest = setup.pool.digest
    generator, twin = setup.make(), setup.make()
    result = generator.fit(setup.pool, seed=1, scratch=setup.folder("scratch-1"))
    with _different_global_state():
        twin.fit(setup.pool, seed=1, scratch=setup.folder("scratch-2"))
    _require(
        Pool(setup.pool.table).digest == digest,
        "fit changed its training pool",
        expected="the rows of the pool are the same before and after fit",
        why="other generations and metrics use the same pool",
        fix="copy arrays before you write to them",
    )
    _check_fit_result(result, rows=len(setup.pool))
    return generator, twin


def _check_fit_result(result: FitResult, *, rows: int) -> None:
    """Check that a fit result describes the use of all `rows` rows."""
    _require(
        isinstance(result, FitResult),
        f"fit returned a {type(result).__name__}",
        expected="a FitResult",
        why="the audit computes from it how much real and generated data a model was trained on",
        fix="return FitResult(...), or FitResult.closed_form(...) if every row is used once",
    )
    for name, values in {"visit_counts": result.visit_counts, "units_per_row": result.units_per_row}.items():
        _require(
            values.shape == (rows,),
            f"{name} has shape {values.shape}",
            expected=f"shape ({rows},), one number for each row of the training pool",
            why="the audit sums these numbers by the origin of the rows",
            fix="count per row of the pool, not per batch or per epoch",
        )
    _require(
        result.consumed.sum() > 0 and result.steps >= 1,
        f"fit consumed {result.consumed.sum():g} {result.unit} in {result.steps} steps",
        expected="more than 0 units in at least 1 step",
        why="a fit without data learns nothing, and the share of real data would be 0 / 0",
        fix="return the number of steps and the visits of each row",
    )


def _check_sampling(setup: _Setup, generator: Generator, twin: Generator) -> Pool:
    """Check `sample` of two generators that were fitted with the same seed. Returns `n` generated rows."""
    n = setup.n
    generated = generator.sample(n, seed=2)
    _check_rows(setup, generated)
    with _different_global_state():
        repeated = twin.sample(n, seed=2)
    _require(
        generated.digest == repeated.digest,
        "fit and sample with the same seeds gave two different pools",
        expected="the same pool, regardless of global random state",
        why="results must be reproducible, and cached artifacts must equal recomputed ones",
        fix="draw all random numbers from `stream(seed, ...)`; wrap torch code that draws weights or noise in `seeded(seed)`",
    )
    _require(
        generated.digest == generator.sample(n, seed=2).digest,
        "sample called twice with one seed gave two different pools",
        expected="the same pool",
        why="results must be reproducible",
        fix="create the random generator inside sample; do not keep it between calls",
    )
    _require(
        generated.digest != generator.sample(n, seed=3).digest,
        "sample with another seed gave the same pool",
        expected="different seeds give different pools",
        why="replicates of an experiment must be independent",
        fix="use `seed` for every draw",
    )
    _require(
        generator.sample(n - 2, seed=2).digest == generated.slice(0, n - 2).digest,
        f"the {n - 2} rows of sample({n - 2}) are not the first rows of sample({n})",
        expected="sample(n) begins with the rows of sample(m) for m < n",
        why="policies with different pool sizes must be compared on the same rows",
        fix="draw each row, or each chunk of fixed size, from a separate stream, such as `stream(seed, 'row', row)`",
    )
    return generated


def _check_rows(setup: _Setup, generated: Pool) -> None:
    """Check the number of generated rows and their columns and types."""
    _require(
        len(generated) == setup.n,
        f"sample({setup.n}) returned {len(generated)} rows",
        expected=f"{setup.n} rows",
        why="pool sizes must be equal across policies",
        fix="generate at least n rows and return the first n",
    )
    _require(
        set(generated.columns) == set(setup.pool.columns),
        f"sample returned the columns {', '.join(generated.columns)}",
        expected=f"the columns of the training pool, {', '.join(setup.pool.columns)}",
        why="generated rows are mixed with real rows in later generations",
        fix="list exactly the generated columns in `columns`; add `label` only if the training pool has it",
    )
    for name in setup.pool.columns:
        expected_type, actual_type = setup.pool.table.schema.field(name).type, generated.table.schema.field(name).type
        _require(
            actual_type == expected_type,
            f"the generated column '{name}' has the type {actual_type}",
            expected=f"{expected_type}, as in the training pool",
            why="generated rows are mixed with real rows in later generations",
            fix="convert the array with `.astype(...)` and reshape rows before you build the pool",
        )


def _check_saving(setup: _Setup, generator: Generator, twin: Generator, generated: Pool) -> Generator:
    """Check `save` and `load` of two equal generators. Returns a new instance with the loaded weights."""
    saved, saved_twin = setup.folder("saved"), setup.folder("saved-twin")
    generator.save(saved)
    twin.save(saved_twin)
    first, second = _file_digests(saved), _file_digests(saved_twin)
    different = sorted(name for name in {*first, *second} if first.get(name) != second.get(name))
    _require(
        not different,
        f"save wrote different bytes for equal weights: {', '.join(different)}",
        expected="the same weights give the same bytes",
        why="the digest of the files is part of the cache keys of everything that uses the model",
        fix="write no time stamps, sort sets and dictionary keys, and use safetensors, .npy or sorted JSON",
    )
    pickles = sorted(path.name for path in saved.rglob("*") if path.suffix in PICKLE_SUFFIXES)
    _require(
        not pickles,
        f"save wrote a pickle: {', '.join(pickles)}",
        expected=f"no files with the suffixes {', '.join(PICKLE_SUFFIXES)}",
        why="opening a pickle can run code, and stores are shared between people",
        fix="use safetensors, .npy or JSON",
    )
    loaded = setup.make()
    loaded.load(saved)
    _require(
        loaded.sample(setup.n, seed=2).digest == generated.digest,
        "a generator that was saved and loaded samples differently",
        expected="the same pool before save and after load",
        why="the loop samples from loaded models, often in another process",
        fix="save all fitted state (shapes, class shares, buffers) at full precision, and set networks to eval mode in load",
    )
    return loaded


def _check_scores(setup: _Setup, generator: Generator, loaded: Generator) -> None:
    """Check `score`, if the generator has this ability."""
    if not isinstance(generator, Scores) or not isinstance(loaded, Scores):
        return
    scores, rows = generator.score(setup.pool), len(setup.pool)
    _require(
        scores.shape == (rows,) and scores.dtype == np.float64,
        f"score returned {scores.dtype} of shape {scores.shape}",
        expected=f"float64 of shape ({rows},), the negative log-likelihood of each row in nats",
        why="metrics and curations average and rank these numbers",
        fix="sum over tokens or pixels, then convert with `.astype(np.float64)`",
    )
    _require(
        bool(np.isfinite(scores).all()),
        f"score returned {np.count_nonzero(~np.isfinite(scores))} of {rows} numbers that are not finite",
        expected="finite numbers for all rows of the training pool",
        why="one infinite score makes a mean infinite",
        fix="smooth probabilities that can be 0, or compute in log space",
    )
    _require(
        np.array_equal(scores, loaded.score(setup.pool)),
        "a generator that was saved and loaded scores differently",
        expected="the same scores before save and after load",
        why="the loop computes scores with loaded models",
        fix="save all fitted state at full precision, and draw noise from a fixed stream",
    )


def _check_refit(setup: _Setup, loaded: Generator, generated: Pool) -> None:
    """Check that a loaded generator can be fitted further, and that `fresh=True` ignores the loaded weights."""
    loaded.fit(setup.pool, seed=4, scratch=setup.folder("scratch-3"))
    _check_rows(setup, loaded.sample(setup.n, seed=2))
    fresh = setup.make()
    fresh.load(setup.folder("saved"))
    fresh.fit(setup.pool, seed=1, scratch=setup.folder("scratch-4"), fresh=True)
    _require(
        fresh.sample(setup.n, seed=2).digest == generated.digest,
        "fit(fresh=True) after load gave another model than fit of a new instance",
        expected="the same model, because `fresh=True` ignores loaded weights",
        why="`init: scratch` trains every generation from new weights",
        fix="if fresh is true, draw new weights from `seed` and keep only parts that gradient descent does not learn (a tokenizer)",
    )


def _require(holds: bool, found: str, *, expected: str, why: str, fix: str) -> None:
    """Raise BrokenRequirement unless a requirement is met."""
    if not holds:
        raise BrokenRequirement(f"{found}.\n  Expected: {expected}.\n  Why it matters: {why}.\n  How to fix it: {fix}.")


def _file_digests(folder: Path) -> dict[str, str]:
    """Compute the SHA-256 digests of all files below a folder, by relative path."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@contextmanager
def _temporary_folders() -> Iterator[Callable[[str], Path]]:
    """Yield a function that creates folders by name. All folders are deleted at the end."""
    with tempfile.TemporaryDirectory() as root:

        def folder(name: str) -> Path:
            path = Path(root) / name
            path.mkdir(exist_ok=True)
            return path

        yield folder


@contextmanager
def _different_global_state() -> Iterator[None]:
    """Change the global random states in a block. A generator that reads them returns different numbers in the block."""
    import torch

    before = _global_states()
    random.seed(99)
    np.random.seed(99)
    set_random_state(99)
    try:
        yield
    finally:
        random.setstate(before["random"])
        np.random.set_state(before["numpy.random"])
        torch.set_rng_state(before["torch"])
        if (kind := current_device().type) != "cpu":
            torch.get_device_module(kind).set_rng_state(before[f"torch.{kind}"])


@contextmanager
def _global_state_unchanged() -> Iterator[None]:
    """Check that a block does not change any global random state."""
    before = _global_states()
    yield
    for name, state in _global_states().items():
        _require(
            _comparable(state) == _comparable(before[name]),
            f"the global state of {name} was changed",
            expected="fit, sample, score, save and load do not change global random state",
            why="a change would affect the random numbers of other code in the same process",
            fix="use `stream(seed, ...)` instead of global functions; wrap torch code in `seeded(seed)`",
        )


def _global_states() -> dict[str, Any]:
    """Return the global random states by name. A GPU has its own state."""
    import torch

    states = {"random": random.getstate(), "numpy.random": np.random.get_state(), "torch": torch.get_rng_state()}
    kind = current_device().type
    return states if kind == "cpu" else {**states, f"torch.{kind}": torch.get_device_module(kind).get_rng_state()}


def _comparable(state: Any) -> list[Any]:
    """Convert a random state to lists, which can be compared with `==`."""
    return [value.tolist() if hasattr(value, "tolist") else value for value in state]
