"""Functions for runs in a separate process that is killed at a chosen or random moment."""

from __future__ import annotations

import os
import signal

from autophagy import experiment
from autophagy.common.execution.run import write_results
from autophagy.common.execution.scheduler import run_all

CALLS = ("fsync", "rename", "replace")
"""Functions of `os` that change the store or the results. Sealing, renaming and writing call them in every step."""


def run_with_report(config, folder):
    """Run an experiment and write the same files as the command `autophagy run`."""
    from autophagy.common.report.runs.report import write_report

    parsed = experiment(config)
    result = run_all([parsed], store=folder / "store", workers=1, progress=lambda event: None)[parsed.name]
    write_results(parsed, result, folder / "out")
    write_report([folder / "out"], folder / "out" / "report.html")


def run_until_killed(config, folder, fatal_call):
    """Run an experiment. This process kills itself at the `fatal_call`-th call that changes a file (None: never)."""
    left = fatal_call

    def counted(call):
        def killing(*args, **kwargs):
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return killing

    if fatal_call is not None:
        for name in CALLS:
            setattr(os, name, counted(getattr(os, name)))
    os.environ["AUTOPHAGY_CHECKPOINT_SECONDS"] = "0"  # checkpoint at every step, so that kills also hit checkpoints
    run_with_report(config, folder)
