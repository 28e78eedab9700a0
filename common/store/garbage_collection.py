"""Garbage collection: removes artifacts that no kept run needs, and leftover files of killed processes.

    kept runs: artifacts in their provenance.json ──┐
    unfinished runs: keys in their ledgers ─────────┴──► needed        all others ──► removed, each under its lock

A run needs all artifacts that the same command would look up. Concurrent runs add each key to their ledger before they look it up, and
garbage collection reads the ledgers again before it removes an artifact.
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
from .in_use import Ledger, open_ledgers
from .layout import (
    artifact_path,
    artifact_paths,
    bytes_below,
    check_store_exists,
    drafts,
    entries_by_key,
    is_locked,
    key_of_path,
    lock_path,
    new_draft_path,
)
from .run_records import KeptRun, kept_runs

WEIGHTS, DRAFT, SCRATCH, LOCK, LEDGER, SET_ASIDE = "weights", "draft", "scratch", "lock", "ledger", "set aside"
"""Kinds of removable items that are not artifacts."""


@dataclass(frozen=True)
class Item:
    """A file or folder that can be removed."""

    kind: str
    """One of the kinds above or, for an artifact, its stage ("?" if its manifest is damaged)."""
    path: Path
    key: str = ""
    """Key whose lock must be held during removal. Empty: no lock is needed."""
    bytes: int = 0
    seconds: float = 0.0
    """Build time of the artifact in seconds."""


@dataclass(frozen=True)
class CollectionPlan:
    """Plan of a garbage collection: kept runs, kept artifacts and items to remove."""

    store: Path
    runs: Sequence[KeptRun]
    unfinished: Sequence[Ledger]
    """Unfinished runs whose artifacts are kept."""
    artifacts: int
    """Number of kept artifacts."""
    bytes: int
    """Size of the kept artifacts in bytes. Includes weights that will be removed."""
    missing: int
    """Number of artifacts that kept runs need but the store does not have."""
    items: Sequence[Item]
    """Items to remove."""
    used_keys: Collection[str]
    """Keys in all ledgers at the time of the plan."""


def plan_collection(
    store: Path, folders: Sequence[Path], *, weights: bool = False, set_aside: bool = False, unfinished: bool = False
) -> CollectionPlan:
    """Plan a garbage collection that keeps the runs in `folders`. Without folders, all artifacts are kept.

    weights: also remove weights of kept runs, except those of their first and last generations.
    set_aside: also remove damaged artifacts that were set aside.
    unfinished: also remove artifacts that only unfinished runs need.
    Raises UserError if the artifacts that a run needs cannot be determined.
    """
    check_store_exists(store)
    if not folders and (weights or unfinished):
        raise UserError("gc: --weights and --unfinished require RUN arguments; name the folders of the runs to keep")
    runs, ledgers = kept_runs(folders), open_ledgers(store)
    used_keys = frozenset().union(*(ledger.keys() for ledger in ledgers))
    reserved = frozenset[str]() if unfinished else used_keys
    existing = {key: path for path in artifact_paths(store) if (key := key_of_path(path))}
    _check_same_store(runs, existing, store)
    run_keys = frozenset[str]().union(*(run.artifacts for run in runs))
    needed = reserved | run_keys if folders else frozenset(existing)
    kept = existing.keys() & needed
    items = [
        *(_artifact_item(key, path) for key, path in existing.items() if key not in needed),
        *(_weights(runs, existing, reserved=reserved) if weights else ()),
        *_leftovers(store, kept=kept, reserved=reserved),
        *(_set_aside_items(store) if set_aside else ()),
        *(Item(LEDGER, ledger.path, bytes=bytes_below(ledger.path)) for ledger in ledgers if unfinished),
    ]
    return CollectionPlan(
        store,
        runs,
        unfinished=[] if unfinished else ledgers,
        artifacts=len(kept),
        bytes=sum(bytes_below(existing[key]) for key in kept),
        missing=len(run_keys - existing.keys()),
        items=items,
        used_keys=used_keys,
    )


def remove_items(plan: CollectionPlan) -> Iterator[tuple[Item, bool]]:
    """Remove the items of a plan. Yields (item, True) for each removed item and (item, False) for each kept item.

    Keeps items that are locked and items that a run has looked up since the plan was made. If the process is killed, the store
    contains only complete artifacts and abandoned drafts.
    """
    by_key: dict[str, list[Item]] = defaultdict(list)
    for item in plan.items:
        by_key[item.key].append(item)
    ledger_keys = _LedgerKeys(plan.store)
    try:
        for item in by_key.pop("", ()):
            yield item, _remove_unlocked(item, plan)
        for key, items in by_key.items():
            yield from _remove_locked(key, items, plan, ledger_keys)
    except OSError as error:
        raise UserError(f"--store {plan.store}: {error.filename or ''} cannot be removed: {error.strerror}") from error


# ---- removable items --------------------------------------------------------------------------------------------------


def _check_same_store(runs: Sequence[KeptRun], existing: Mapping[str, Path], store: Path) -> None:
    """Raise UserError if a run used another store. Otherwise, all artifacts of this store would count as unneeded."""
    for run in runs:
        if not run.artifacts & existing.keys():
            raise UserError(
                f"{run.folder}: --store {store} has none of the {len(run.artifacts):,} artifacts that this run needs; "
                "name the store that the run used"
            )


def _artifact_item(key: str, path: Path) -> Item:
    manifest, _ = read_manifest(path, key=key)
    if manifest is None:
        return Item("?", path, key, bytes_below(path))
    return Item(str(manifest["recipe"].get("stage", "?")), path, key, bytes_below(path), manifest["provenance"]["seconds"])


def _weights(runs: Sequence[KeptRun], existing: Mapping[str, Path], *, reserved: Collection[str]) -> Iterator[Item]:
    """Yield weights of models in middle generations. Skips models in an end generation of any run, or in use by unfinished runs."""
    middle_models = frozenset[str]().union(*(run.middle_models for run in runs))
    removable = middle_models.difference(reserved, *(run.end_models for run in runs))
    for key in sorted(removable & existing.keys()):
        path = existing[key] / MODEL
        if path.is_dir() and not path.is_symlink():
            yield Item(WEIGHTS, path, key, bytes_below(path))


def _leftovers(store: Path, *, kept: Collection[str], reserved: Collection[str]) -> Iterator[Item]:
    """Yield leftovers of killed processes: drafts, scratch folders that no run can resume from, and locks without an artifact."""
    for key, path in drafts(store):
        if not is_locked(store, key):
            yield Item(DRAFT, path, key, bytes_below(path))
    for key, path in entries_by_key(store / "scratch"):
        if (key in kept or key not in reserved) and not is_locked(store, key):
            yield Item(SCRATCH, path, key, bytes_below(path))
    for key, path in entries_by_key(store / "locks"):
        if key not in kept and path.is_file() and not path.is_symlink() and not is_locked(store, key):
            yield Item(LOCK, path, key)


def _set_aside_items(store: Path) -> Iterator[Item]:
    folder = store / "set-aside"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        yield Item(SET_ASIDE, path, bytes=bytes_below(path))


# ---- removing ---------------------------------------------------------------------------------------------------------


class _LedgerKeys:
    """Cache of the keys in the ledgers of a store. Reads the files again only if their sizes have changed."""

    def __init__(self, store: Path):
        self.store = store
        self._sizes: dict[Path, int] | None = None
        self._keys: frozenset[str] = frozenset()

    def current(self) -> Collection[str]:
        ledgers = open_ledgers(self.store)
        sizes = {ledger.path: bytes_below(ledger.path) for ledger in ledgers}
        if sizes != self._sizes:
            self._sizes, self._keys = sizes, frozenset().union(*(ledger.keys() for ledger in ledgers))
        return self._keys


def _remove_locked(key: str, items: Sequence[Item], plan: CollectionPlan, ledger_keys: _LedgerKeys) -> list[tuple[Item, bool]]:
    """Remove all items of one key under its lock. Removes drafts even if the key is in use, because the lock excludes builds."""
    lock, results = lock_path(plan.store, key), []
    try:
        with FileLock(lock, timeout=0):
            used_since = key in ledger_keys.current() and key not in plan.used_keys
            for item in items:
                removable = item.kind == DRAFT or not used_since
                results.append((item, removable and _remove(item, plan.store)))
            if not os.path.lexists(artifact_path(plan.store, key)):
                lock.unlink()
    except Timeout:
        return [(item, False) for item in items]
    return results


def _remove(item: Item, store: Path) -> bool:
    """Remove an item. The caller must hold its lock. Returns False if the item does not exist or is damaged."""
    if item.kind == LOCK:
        return True  # `_remove_locked` deletes the lock file last
    if not os.path.lexists(item.path):
        return False  # another process has removed it
    aside = new_draft_path(store, item.key)
    if item.kind == WEIGHTS:
        manifest, _ = read_manifest(item.path.parent, key=item.key)
        if manifest is None:
            return False  # damaged; the next run that uses the artifact reports it
        drop(item.path.parent, manifest, item.path.name, draft=aside)
    elif item.kind in (DRAFT, SCRATCH):
        _delete(item.path)
    else:  # rename first, so that no partial artifact is visible
        os.rename(item.path, aside)
        _delete(aside)
    return True


def _remove_unlocked(item: Item, plan: CollectionPlan) -> bool:
    if item.kind == LEDGER and not Ledger(item.path).keys() <= set(plan.used_keys):
        return False  # the ledger has new keys, so the run is still active
    _delete(item.path)
    return True


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
