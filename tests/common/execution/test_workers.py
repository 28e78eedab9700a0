"""Workers compute with one thread, also in libraries that are imported later. Only large models use several."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from autophagy.common.core.task_threads import THREAD_VARIABLES

SCRIPT = """
import json, os, sys
from autophagy.common.core.task_threads import LARGE_MODEL_PARAMETERS, THREAD_VARIABLES, one_thread, threads_for

environment = lambda: {name: os.environ.get(name) for name in THREAD_VARIABLES}
before = environment()
assert "torch" not in sys.modules
with one_thread(large_models=5):
    inside = environment()
    import torch
    threads = [torch.get_num_threads()]
    for parameters in (LARGE_MODEL_PARAMETERS - 1, LARGE_MODEL_PARAMETERS):
        with threads_for(torch.nn.Linear(parameters, 1, bias=False, device="meta")):
            threads.append(torch.get_num_threads())
    threads.append(torch.get_num_threads())
print(json.dumps([before, inside, threads, environment()]))
"""


@pytest.mark.parametrize("value", [None, "3"])
def test_one_thread_limits_torch_that_is_imported_inside(value):
    environment = {name: text for name, text in os.environ.items() if name not in THREAD_VARIABLES}
    if value is not None:
        environment |= dict.fromkeys(THREAD_VARIABLES, value)
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    before, inside, threads, after = json.loads(done.stdout)
    assert threads == [1, 1, 5, 1]
    assert inside == dict.fromkeys(THREAD_VARIABLES, "1")
    assert before == after == dict.fromkeys(THREAD_VARIABLES, value), "the environment is restored"
