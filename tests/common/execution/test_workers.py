"""Workers compute with a fixed number of threads, also in libraries that are imported later."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from autophagy.common.execution.workers import THREAD_VARIABLES

SCRIPT = """
import json, os, sys
from autophagy.common.execution.workers import THREAD_VARIABLES, limit_threads

environment = lambda: {name: os.environ.get(name) for name in THREAD_VARIABLES}
before = environment()
assert "torch" not in sys.modules
with limit_threads(2):
    inside = environment()
    import torch
    threads = torch.get_num_threads()
print(json.dumps([before, inside, threads, environment()]))
"""


@pytest.mark.parametrize("value", [None, "3"])
def test_threads_of_torch_that_is_imported_inside_are_limited(value):
    environment = {name: text for name, text in os.environ.items() if name not in THREAD_VARIABLES}
    if value is not None:
        environment |= dict.fromkeys(THREAD_VARIABLES, value)
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    before, inside, threads, after = json.loads(done.stdout)
    assert threads == 2
    assert inside == dict.fromkeys(THREAD_VARIABLES, "2")
    assert before == after == dict.fromkeys(THREAD_VARIABLES, value), "the environment is restored"
