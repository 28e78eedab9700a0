"""Hundreds of generations: memory, open files and time per generation do not grow.

The tests run 60 generations. AUTOPHAGY_GENERATIONS=500 runs more.
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
"""Pools or models have at least 300,000 bytes, so that keeping one of each generation in memory is noticed."""
MAX_BYTES_PER_GENERATION = {"analytic": 100_000, "n-gram": 100_000, "vae": 100_000}
"""Accepted growth of the memory. The rows and the manifests of a generation take about 30,000 bytes."""
SCRIPT = r"""
import ctypes, json, re, sys, time
from pathlib import Path
import psutil
from autophagy import experiment
from autophagy.common.execution.scheduler import run_all
process, measurements, order, configs = psutil.Process(), [], [], json.loads(sys.argv[1])

def used_bytes():  # without mapped files, and without memory that the allocator keeps for later
    ctypes.CDLL(None).malloc_trim(0)
    return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024

def measure(event):
    if event.done:
        measurements.append((used_bytes(), process.num_fds(), time.perf_counter()))
        order.append(event.experiment)

run_all([experiment(one) for one in configs], store=Path(sys.argv[2]), workers=1, progress=measure)
print(json.dumps([measurements, order]))
"""


def run_measured(experiments, store):
    """Memory in bytes, open files and time in seconds at the end of each generation, float64 [generations], and its experiment."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(experiments), str(store)]
    measurements, order = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return *np.array(measurements, dtype=float).T, order


@pytest.mark.parametrize("name", CHAINS)
def test_long_chain_needs_constant_memory_and_files(name, tmp_path):
    """Time is printed, but not tested, since it depends on what else the machine does."""
    memory, files, clock, _ = run_measured([CHAINS[name]], tmp_path)
    assert len(memory) == GENERATIONS + 1
    seconds, fifth = np.diff(clock), GENERATIONS // 5
    early, late = slice(fifth, 2 * fifth), slice(-fifth, None)
    print(
        f"{name}, {GENERATIONS} generations: {memory[early].mean() / 1e6:.0f} to {memory[late].mean() / 1e6:.0f} MB, "
        f"{files[early].max():.0f} to {files[late].max():.0f} open files, "
        f"{1000 * np.median(seconds[early]):.0f} to {1000 * np.median(seconds[late]):.0f} ms a generation"
    )
    assert files[late].max() <= files[early].max() + 2  # one lock file more or less
    per_generation = (memory[late].mean() - memory[early].mean()) / (GENERATIONS * 0.6)
    assert per_generation < MAX_BYTES_PER_GENERATION[name], f"{per_generation:,.0f} bytes of memory more for each generation"


def test_worker_caches_the_data_of_few_experiments(tmp_path):
    """Each experiment has at least 16 MB of real data. Experiments run one after the other; ten more add less than 80 MB."""
    data = {"use": "gaussian", "rows": 20, "replicates": 50_000}
    one = {**ANALYTIC, "seeds": [0, 1], "policies": ["replace"], "data": data}
    several = [{**one, "name": f"number-{number}", "generations": 1 + number} for number in range(16)]
    (few, *_), (many, _, _, order) = run_measured(several[:6], tmp_path / "few"), run_measured(several, tmp_path / "many")
    names = [config["name"] for config in several]
    assert list(dict.fromkeys(order)) == names and order == sorted(order, key=names.index)
    assert many[-1] - few[-1] < 80e6, f"{few[-1] / 1e6:.0f} MB after six experiments, {many[-1] / 1e6:.0f} after sixteen"
