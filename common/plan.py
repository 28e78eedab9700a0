"""What a run would take before it is started: generations that are to be made, time, disk and memory.

Estimates come from stages of the same experiment that the store has; without any, only what pools will hold is known beforehand.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .chain import chain
from .config import Experiment
from .errors import UserError
from .lab import Lab
from .policies import made_rows
from .store import Artifact, Store

SPARE_BYTES = 100_000_000
"""A run is refused if less than this would be left on the disk."""


class Missing(Exception):
    """The store has no such artifact."""


class Kept(Store):
    """A store that makes nothing."""

    def make(self, recipe: Mapping[str, Any], build: Callable[[Path, Path], None], **_: Any) -> Artifact:
        if found := self.find(recipe):
            return found
        raise Missing


@dataclass(frozen=True)
class Plan:
    """What running one experiment would take."""

    generations: int
    """Of all chains."""
    kept: int
    """How many of them the store has whole."""
    seconds: float | None
    """Processor seconds that the others would take; None: nothing like them was made before."""
    bytes: int
    """What they would add to the store; at least that, where `seconds` is None."""
    peak_bytes: int | None
    """Memory of a worker at its fullest; None as for `seconds`."""


def plan(experiment: Experiment, store: Path) -> Plan:
    """What running an experiment would take, by what the store has of it. Loads the data, makes nothing."""
    lab = Lab(experiment, Kept(store))
    pool_bytes = _pool_bytes(lab)  # before anything else: what is wrong with the data shows now
    whole = experiment.generations + 1
    kept = sum(_kept(lab, policy, seed) for policy in experiment.arms for seed in experiment.seeds)
    wanted = whole * len(experiment.arms) * len(experiment.seeds)
    artifacts = list(lab.used.values())
    if not kept:
        return Plan(wanted, 0, None, pool_bytes, None)
    left = (wanted - kept) / kept
    seconds = sum(one.manifest["provenance"]["seconds"] for one in artifacts)
    size = sum(entry["bytes"] for one in artifacts for entry in one.manifest["files"].values())
    peak = max(one.manifest["provenance"].get("peak_bytes", 0) for one in artifacts)
    return Plan(wanted, kept, left * seconds, round(left * size), peak or None)


def refuse_full_disk(experiments: Sequence[Experiment], store: Path) -> None:
    """UserError if what is to be made would not fit on the store's disk, as far as that can be known."""
    needed = sum(plan(experiment, store).bytes for experiment in experiments)
    free = free_bytes(store)
    if needed + SPARE_BYTES > free:
        raise UserError(
            f"--store {store}: this would add about {in_words(needed)}, and {in_words(free)} are free on its disk; "
            "`autophagy gc` frees what no kept run needs"
        )


def free_bytes(folder: Path) -> int:
    """Free on the disk of a folder."""
    return shutil.disk_usage(folder).free


def memory_bytes() -> int:
    """Memory of this machine that is not in use."""
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def in_words(size: float) -> str:
    """1500000 as 1.5 MB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _kept(lab: Lab, policy: str, seed: int) -> int:
    """Generations of a chain that the store has whole, of its members together."""
    found = 0
    try:
        for _ in chain(lab, policy=policy, seed=seed):
            found += 1
    except Missing:
        pass
    return found // len(lab.experiment.members)


def _pool_bytes(lab: Lab) -> int:
    """What the pools of all generations will hold, if made rows are as big as real ones."""
    wanted, total = lab.experiment, 0
    real = lab.splits["train"].only(wanted.columns)
    row = real.table.nbytes / len(real)
    for arm in wanted.arms.values():
        policy = arm.policy.build()
        rows = sum(made_rows(policy, size=wanted.size, generation=number) for number in range(wanted.generations)) + wanted.size
        total += len(wanted.seeds) * len(wanted.members) * round(rows * row)
    return total
