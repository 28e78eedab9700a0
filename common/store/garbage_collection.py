"""Free: what a store holds and no run that is kept needs. A run needs whatever running it again would look for.

    kept runs: artifacts in their provenance.json ──┐
    unfinished runs: keys in their ledgers ─────────┴──► needed        the others ──► freed, each under its lock

What runs beside this look for in the meantime is in their ledgers, which are read again before anything is freed.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ..core.errors import UserError
from .artifact import MODEL, drop, read_manifest
from .in_use import Ledger, ledgers
from .layout import check_store_exists, draft_of, drafts, held, key_of_place, lock_of, place_of, places, size, under_key
from .run_records import RunRecord, run_records

WEIGHTS, DRAFT, SCRATCH, LOCK, LEDGER, SET_ASIDE = "weights", "draft", "scratch", "lock", "ledger", "set aside"


@dataclass(frozen=True)
class Item:
    """Something that may be freed."""

    kind: str
    """The stage of an artifact ("?" if it cannot be read), or one of the names above."""
    path: Path
    key: str = ""
    """Whose lock must be held to free it; none if empty."""
    bytes: int = 0
    seconds: float = 0.0
    """What an artifact cost when it was made."""


@dataclass(frozen=True)
class Plan:
    """What would be kept, and what would be freed."""

    store: Path
    runs: Sequence[RunRecord]
    unfinished: Sequence[Ledger]
    """Runs that are not finished, whose artifacts are kept."""
    artifacts: int
    """How many stay."""
    bytes: int
    """What they take before any weights are dropped."""
    missing: int
    """Artifacts that kept runs need and the store has not; running them again would make them."""
    items: Sequence[Item]
    noted: Collection[str]
    """Keys that the ledgers held."""


def plan(
    store: Path, folders: Sequence[Path], *, weights: bool = False, set_aside: bool = False, unfinished: bool = False
) -> Plan:  # fmt: skip
    """What can be freed if the runs in some folders are kept; without folders, no artifact can.

    weights: drop the weights of generations between the first and the last of the kept runs. set_aside: also free what was damaged
    and set aside. unfinished: also free what only unfinished runs need. UserError if it is not certain what is needed.
    """
    check_store_exists(store)
    if not folders and (weights or unfinished):
        raise UserError("gc: what may go depends on which runs are kept: name the folders that `run` wrote")
    runs, open_ledgers = run_records(folders), ledgers(store)
    noted = frozenset().union(*(ledger.noted() for ledger in open_ledgers))
    promised = frozenset() if unfinished else noted
    there = {key: path for path in places(store) if (key := key_of_place(path))}
    _refuse_another_store(runs, there, store)
    needed = frozenset(there) if not folders else promised.union(*(run.artifacts for run in runs))
    items = [
        *(_artifact(key, path) for key, path in there.items() if key not in needed),
        *(_weights(runs, there, but=promised) if weights else ()),
        *_leftovers(store, there.keys() & needed, promised),
        *(_whatever(SET_ASIDE, store / "set-aside") if set_aside else ()),
        *(Item(LEDGER, ledger.path, bytes=size(ledger.path)) for ledger in open_ledgers if unfinished),
    ]
    return Plan(
        store, runs, [] if unfinished else open_ledgers, len(there.keys() & needed), sum(size(there[key]) for key in there.keys() & needed),
        len(frozenset().union(*(run.artifacts for run in runs)) - there.keys()), items, noted,
    )  # fmt: skip


def free(planned: Plan) -> Iterator[tuple[Item, bool]]:
    """Free what was planned: every item, and whether it went. What is locked, or was asked for meanwhile, stays.

    Killed at any moment it leaves whole artifacts and drafts that nobody builds.
    """
    by_key: dict[str, list[Item]] = defaultdict(list)
    for item in planned.items:
        by_key[item.key].append(item)
    noted = _Noted(planned.store)
    try:
        for item in by_key.pop("", ()):
            yield item, _free_unlocked(item, planned)
        for key, items in by_key.items():
            yield from _free_locked(key, items, planned, noted)
    except OSError as error:
        raise UserError(f"--store {planned.store}: cannot be freed: {error.filename or ''}: {error.strerror}") from error


# ---- what may go ------------------------------------------------------------------------------------------------------


def _refuse_another_store(runs: Sequence[RunRecord], there: Mapping[str, Path], store: Path) -> None:
    for run in runs:
        if not run.artifacts & there.keys():
            raise UserError(f"{run.folder}: not one of the artifacts it needs is in --store {store}; is it the store of this run?")


def _artifact(key: str, path: Path) -> Item:
    manifest, _ = read_manifest(path, key=key)
    if manifest is None:
        return Item("?", path, key, size(path))
    return Item(str(manifest["recipe"].get("stage", "?")), path, key, size(path), manifest["provenance"]["seconds"])


def _weights(runs: Sequence[RunRecord], there: Mapping[str, Path], *, but: Collection[str]) -> Iterator[Item]:
    """Weights of models that are nobody's first or last and that no unfinished run has looked for."""
    between = frozenset().union(*(run.between for run in runs)).difference(but, *(run.ends for run in runs))
    for key in sorted(between & there.keys()):
        path = there[key] / MODEL
        if path.is_dir() and not path.is_symlink():
            yield Item(WEIGHTS, path, key, size(path))


def _leftovers(store: Path, staying: Collection[str], promised: Collection[str]) -> Iterator[Item]:
    """What processes that are gone left: drafts, scratch folders whose fit nobody is to go on with, locks of nothing."""
    for key, path in drafts(store):
        if not held(store, key):
            yield Item(DRAFT, path, key, size(path))
    for key, path in under_key(store / "scratch"):
        if (key in staying or key not in promised) and not held(store, key):
            yield Item(SCRATCH, path, key, size(path))
    for key, path in under_key(store / "locks"):
        if key not in staying and path.is_file() and not path.is_symlink() and not held(store, key):
            yield Item(LOCK, path, key)


def _whatever(kind: str, folder: Path) -> Iterator[Item]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        yield Item(kind, path, bytes=size(path))


# ---- freeing ----------------------------------------------------------------------------------------------------------


class _Noted:
    """What the ledgers of a store hold now, read again when one of them has grown."""

    def __init__(self, store: Path):
        self.store, self._sizes, self._keys = store, None, frozenset()

    def __call__(self) -> Collection[str]:
        found = ledgers(self.store)
        sizes = {ledger.path: size(ledger.path) for ledger in found}
        if sizes != self._sizes:
            self._sizes, self._keys = sizes, frozenset().union(*(ledger.noted() for ledger in found))
        return self._keys


def _free_locked(key: str, items: Sequence[Item], planned: Plan, noted: _Noted) -> list[tuple[Item, bool]]:
    path, done = lock_of(planned.store, key), []
    try:
        with FileLock(path, timeout=0):
            wanted = key in noted() and key not in planned.noted
            for item in items:
                may = item.kind == DRAFT or not wanted
                done.append((item, may and _free(item, planned.store)))
            if not os.path.lexists(place_of(planned.store, key)):
                path.unlink()
    except Timeout:
        return [(item, False) for item in items]
    return done


def _free(item: Item, store: Path) -> bool:
    if item.kind == LOCK:
        return True  # goes with everything else under its key
    if not os.path.lexists(item.path):
        return False  # another process was faster
    aside = draft_of(store, item.key)
    if item.kind == WEIGHTS:
        manifest, _ = read_manifest(item.path.parent, key=item.key)
        if manifest is None:
            return False  # damaged; whoever reads it will say so
        drop(item.path.parent, manifest, item.path.name, draft=aside)
    elif item.kind in (DRAFT, SCRATCH):
        _delete(item.path)
    else:  # an artifact goes at once, by its name, and only then bit by bit
        os.rename(item.path, aside)
        _delete(aside)
    return True


def _free_unlocked(item: Item, planned: Plan) -> bool:
    if item.kind == LEDGER and not Ledger(item.path).noted() <= set(planned.noted):
        return False  # that run is at work
    _delete(item.path)
    return True


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
