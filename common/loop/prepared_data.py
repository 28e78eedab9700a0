"""The data stage: reads the files of a data set once and keeps its splits in the store, so that later starts need not read them again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from ..components.dataset import load_splits, source_files_of
from ..config.schema import Experiment
from ..core.errors import UserError
from ..core.file_digests import digest_of_files, file_digests
from ..core.pool import Pool
from ..core.threads import Progress
from .output_checks import validate_data
from .stage_cache import Report, StageCache

SECONDS_BETWEEN_REPORTS = 0.5
"""Minimum time between two reports of progress."""


def prepared_splits(experiment: Experiment, cache: StageCache) -> Mapping[str, Pool]:
    """Return the splits of an experiment's data set. If the data set reads files, the splits are an artifact of the store.

    Raises UserError if files cannot be read or change while they are read.
    """
    data, eval_size = experiment.data.build(), experiment.eval_size
    files = source_files_of(data)
    if not files:
        return load_splits(data, eval_size=eval_size)
    digests = file_digests(files, progress=progress_reports(cache.report, "check the data files"))

    def build(folder: Path, scratch: Path) -> None:
        cache.report("read the data")
        splits = load_splits(data, eval_size=eval_size, progress=progress_reports(cache.report, "read the data"))
        if file_digests(source_files_of(data)) != digests:
            raise UserError(f"data '{experiment.data.use}': its files changed while they were read; run the same command again")
        validate_data(experiment.data.use, splits)
        for name, pool in splits.items():
            (folder / name).mkdir()
            pool.save(folder / name)

    recipe = {"stage": "data", "data": experiment.data.recipe, "eval_size": eval_size, "files": digest_of_files(digests)}
    return cache.load(recipe, build, lambda folder: {path.name: Pool.load(path) for path in sorted(folder.iterdir()) if path.is_dir()})


def progress_reports(report: Report, activity: str) -> Progress:
    """Return a progress callback that reports the number of files and an estimate of the time left, at most twice per second."""
    started = last_report = time.monotonic()

    def update(done: int, total: int) -> None:
        nonlocal last_report
        now = time.monotonic()
        if now - last_report >= SECONDS_BETWEEN_REPORTS:
            last_report = now
            left = (now - started) / done * (total - done)
            report(f"{activity}: {done:,} of {total:,} files, about {_duration(left)} left")

    return update


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
