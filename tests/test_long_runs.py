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
from tiny import ANALYTIC, TEXT, TINY, VISION

GENERATIONS = int(os.environ.get("AUTOPHAGY_GENERATIONS", "60"))
LONG = {"seeds": [0], "generations": GENERATIONS, "policies": ["replace"], "base": None}
CHAINS = {
    "analytic": {**ANALYTIC, **LONG},
    "n-gram": {**TEXT, **LONG, "generator": TINY["ngram"], "features": None, "metrics": ["held-out", "distinct"]},
    "vae": {**VISION, **LONG, "metrics": ["frechet", "pixel-variance"]},
}
WATCHED = """
import json, os, sys, time
import psutil
from autophagy import experiment
from autophagy.common.sweep import run_all
process, seen, written = psutil.Process(), [], json.loads(sys.argv[1])

def watch(event):
    if event.done:
        seen.append((process.memory_info().rss, process.num_fds(), time.perf_counter()))

run_all([experiment(written)], store=sys.argv[2], workers=1, watch=watch)
print(json.dumps(seen))
"""


@pytest.mark.parametrize("name", CHAINS)
def test_a_long_chain_needs_no_more_at_its_end_than_at_its_start(name, tmp_path):
    """Time is printed, not judged; a loop over all that was before would show in the memory and files it needs."""
    command = [sys.executable, "-c", WATCHED, json.dumps(CHAINS[name]), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    memory, files, clock = np.array(json.loads(done.stdout), dtype=float).T
    assert len(memory) == GENERATIONS + 1
    seconds, fifth = np.diff(clock), GENERATIONS // 5
    early, late = slice(fifth, 2 * fifth), slice(-fifth, None)
    print(
        f"{name}, {GENERATIONS} generations: {memory[early].mean() / 1e6:.0f} to {memory[late].mean() / 1e6:.0f} MB, "
        f"{files[early].max():.0f} to {files[late].max():.0f} open files, "
        f"{1000 * np.median(seconds[early]):.0f} to {1000 * np.median(seconds[late]):.0f} ms a generation"
    )
    assert files[late].max() <= files[early].max()
    per_generation = (memory[late].mean() - memory[early].mean()) / (GENERATIONS * 0.6)
    assert per_generation < 50_000, f"{per_generation:,.0f} bytes of memory more with every generation"
