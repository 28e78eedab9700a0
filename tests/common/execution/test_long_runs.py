"""Hundreds of generations: memory, open files and time per generation do not grow.

Here a fraction of it; AUTOPHAGY_GENERATIONS=500 is the whole.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from support.tiny import ANALYTIC, TEXT, TINY, VISION

pytestmark = pytest.mark.slow

GENERATIONS = int(os.environ.get("AUTOPHAGY_GENERATIONS", "60"))
LONG = {"seeds": [0], "generations": GENERATIONS, "policies": ["replace"], "base": None}
CHAINS = {
    "analytic": {**ANALYTIC, **LONG, "size": 50, "data": {**ANALYTIC["data"], "rows": 60, "replicates": 800}},
    "n-gram": {**TEXT, **LONG, "size": 400, "generator": TINY["ngram"], "features": None, "metrics": ["perplexity", "distinct"]},
    "vae": {**VISION, **LONG, "generator": {**TINY["vae"], "hidden": 512}, "metrics": ["frechet", "pixel-variance"]},
}
"""Pools or models of 300,000 bytes and more, so that one that is kept would show."""
MOST_BYTES = {"analytic": 100_000, "n-gram": 100_000, "vae": 100_000}
"""Memory more with every generation: its rows, and what is known of its artifacts, take about 30,000."""
WATCHED = r"""
import ctypes, json, re, sys, time
from pathlib import Path
import psutil
from autophagy import experiment
from autophagy.common.execution.scheduler import run_all
process, seen, order, written = psutil.Process(), [], [], json.loads(sys.argv[1])

def held():  # what is mapped from files, or kept by the allocator for later, is no need
    ctypes.CDLL(None).malloc_trim(0)
    return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024

def watch(event):
    if event.done:
        seen.append((held(), process.num_fds(), time.perf_counter()))
        order.append(event.experiment)

run_all([experiment(one) for one in written], store=Path(sys.argv[2]), workers=1, progress=watch)
print(json.dumps([seen, order]))
"""


def watched(experiments, store):
    """Memory in bytes, open files and the time in seconds at the end of each generation, float64 [generations]; and whose it was."""
    command = [sys.executable, "-c", WATCHED, json.dumps(experiments), str(store)]
    seen, order = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return *np.array(seen, dtype=float).T, order


@pytest.mark.parametrize("name", CHAINS)
def test_a_long_chain_needs_no_more_at_its_end_than_at_its_start(name, tmp_path):
    """Time is printed, not judged; a loop over all that was before would show in the memory and files it needs."""
    memory, files, clock, _ = watched([CHAINS[name]], tmp_path)
    assert len(memory) == GENERATIONS + 1
    seconds, fifth = np.diff(clock), GENERATIONS // 5
    early, late = slice(fifth, 2 * fifth), slice(-fifth, None)
    print(
        f"{name}, {GENERATIONS} generations: {memory[early].mean() / 1e6:.0f} to {memory[late].mean() / 1e6:.0f} MB, "
        f"{files[early].max():.0f} to {files[late].max():.0f} open files, "
        f"{1000 * np.median(seconds[early]):.0f} to {1000 * np.median(seconds[late]):.0f} ms a generation"
    )
    assert files[late].max() <= files[early].max() + 2  # a lock more or less, at the moment of looking
    per_generation = (memory[late].mean() - memory[early].mean()) / (GENERATIONS * 0.6)
    assert per_generation < MOST_BYTES[name], f"{per_generation:,.0f} bytes of memory more with every generation"


def test_a_worker_keeps_the_data_of_few_experiments_and_ends_one_before_the_next(tmp_path):
    """Each has 16 MB of real data and more; kept for all, the ten further experiments would add 160 MB."""
    worlds = {"use": "gaussian", "rows": 20, "replicates": 50_000}
    one = {**ANALYTIC, "seeds": [0, 1], "policies": ["replace"], "data": worlds}
    several = [{**one, "name": f"number-{number}", "generations": 1 + number} for number in range(16)]
    (few, *_), (many, _, _, order) = watched(several[:6], tmp_path / "few"), watched(several, tmp_path / "many")
    names = [written["name"] for written in several]
    assert list(dict.fromkeys(order)) == names and order == sorted(order, key=names.index)
    assert many[-1] - few[-1] < 80e6, f"{few[-1] / 1e6:.0f} MB after six experiments, {many[-1] / 1e6:.0f} after sixteen"
