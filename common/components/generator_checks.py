"""The battery every generator must pass. Authors of plug-ins call `check` in their own tests."""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..core.pool import Pool
from .generator import FitResult, Generator


def check(make: Callable[[], Generator], pool: Pool, *, n: int = 7) -> None:
    """Raise AssertionError, saying which promise of `Generator` is broken, if one is.

    make: builds a new instance, settings small enough to fit in seconds. pool: real rows to fit it to, at least n of them; if
    they have labels and the generator is `conditional`, it is checked with and without.
    """
    columns = make().columns
    _check(make, pool.only(columns), n=n)
    if getattr(make(), "conditional", False) and "label" in pool:
        _check(make, pool.only((*columns, "label")), n=n)


def _check(make: Callable[[], Generator], pool: Pool, *, n: int) -> None:
    with _folder() as folder, _untouched_random_state():
        before = pool.digest
        first, again = make(), make()
        fitted = first.fit(pool, seed=1, scratch=folder("scratch-1"))
        with _other_random_state():
            again.fit(pool, seed=1, scratch=folder("scratch-2"))
        assert pool.digest == before and Pool(pool.table).digest == before, "fit changed its pool"
        _check_fitted(fitted, pool)

        generated = first.sample(n, seed=2)
        _check_pool(generated, pool, n)
        with _other_random_state():
            repeated = again.sample(n, seed=2)
        assert generated.digest == repeated.digest, "the same seeds gave another pool (is global random state read?)"
        assert generated.digest == first.sample(n, seed=2).digest, "sampling twice with one seed gave two pools"
        assert generated.digest != first.sample(n, seed=3).digest, "another seed gave the same pool"
        assert first.sample(n - 2, seed=2).digest == generated.slice(0, n - 2).digest, "sample(n) does not begin with sample(m) for m < n"

        saved = folder("saved")
        first.save(saved)
        again.save(folder("saved-again"))
        assert _bytes(saved) == _bytes(folder("saved-again")), "save wrote other bytes for the same weights (a time stamp, a set?)"
        assert not any(path.suffix in (".pkl", ".pickle", ".pt", ".bin") for path in saved.rglob("*")), "save wrote a pickle"
        loaded = make()
        loaded.load(saved)
        assert loaded.sample(n, seed=2).digest == generated.digest, "it samples differently after load(save())"
        if hasattr(first, "score"):
            scores = first.score(pool)
            assert scores.shape == (len(pool),) and scores.dtype == np.float64, f"score gave {scores.dtype} {scores.shape}"
            assert np.isfinite(scores).all(), "score gave a number that is not finite"
            assert np.array_equal(scores, loaded.score(pool)), "it scores differently after load(save())"

        loaded.fit(pool, seed=4, scratch=folder("scratch-3"))
        fresh = make()
        fresh.load(saved)
        fresh.fit(pool, seed=1, scratch=folder("scratch-4"), fresh=True)
        _check_pool(loaded.sample(n, seed=2), pool, n)
        assert fresh.sample(n, seed=2).digest == generated.digest, "fit(fresh=True) did not start from new weights alone"


def _check_fitted(fitted: FitResult, pool: Pool) -> None:
    assert isinstance(fitted, FitResult), f"fit gave a {type(fitted).__name__}, not Fitted"
    for name in ("visit_counts", "units_per_row"):
        shape = getattr(fitted, name).shape
        assert shape == (len(pool),), f"{name} has the shape {shape}, the pool has {len(pool)} rows"
    assert fitted.consumed.sum() > 0, "fit consumed nothing"
    assert fitted.steps >= 1, "fit took no step"


def _check_pool(generated: Pool, pool: Pool, n: int) -> None:
    assert len(generated) == n, f"{n} rows were asked for, {len(generated)} came"
    assert set(generated.columns) == set(pool.columns), f"made columns {generated.columns}, trained on {pool.columns}"
    for name in pool.columns:
        wanted, got = pool.table.schema.field(name).type, generated.table.schema.field(name).type
        assert got == wanted, f"column '{name}' came as {got}, it was trained on {wanted}"


def _bytes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()
    }


@contextmanager
def _folder() -> Iterator[Callable[[str], Path]]:
    with tempfile.TemporaryDirectory() as root:

        def folder(name: str) -> Path:
            path = Path(root) / name
            path.mkdir(exist_ok=True)
            return path

        yield folder


@contextmanager
def _other_random_state() -> Iterator[None]:
    """Inside, global random states are others; a generator that draws from them, even in a fork, gives something else."""
    import torch

    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(99), np.random.seed(99), torch.default_generator.manual_seed(99)
    yield
    random.setstate(kept[0]), np.random.set_state(kept[1]), torch.set_rng_state(kept[2])


@contextmanager
def _untouched_random_state() -> Iterator[None]:
    """Global random state must come out as it went in; and what it was must not have mattered (seeds alone decide)."""
    import torch

    states = lambda: (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: E731
    before = states()
    yield
    for name, was, now in zip(("random", "numpy.random", "torch"), before, states(), strict=True):
        assert was == now, f"the global state of {name} was changed"
