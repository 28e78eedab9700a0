"""A run in a process of its own, which kills itself or is killed."""

from __future__ import annotations

import os
import signal

from autophagy import experiment
from autophagy.common.execution.run import write
from autophagy.common.execution.scheduler import run_all

CALLS = ("fsync", "rename", "replace")
"""What changes the store or results: every step of sealing, renaming and writing."""


def whole(written, folder):
    """The run with everything it writes, as the command does it."""
    from autophagy.common.report.runs.report import write_report

    wanted = experiment(written)
    outcome = run_all([wanted], store=folder / "store", workers=1, watch=lambda event: None)[wanted.name]
    write(wanted, outcome, folder / "out")
    write_report([folder / "out"], folder / "out" / "report.html")


def dying(written, folder, fatal):
    """The run in a process that kills itself at the `fatal`-th call that changes a file; None: it is killed from outside."""
    left = fatal

    def counted(call):
        def killing(*arguments, **settings):
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **settings)

        return killing

    if fatal is not None:
        for name in CALLS:
            setattr(os, name, counted(getattr(os, name)))
    os.environ["AUTOPHAGY_CHECKPOINT_SECONDS"] = "0"  # checkpoints are written at every step, and so are cut short too
    whole(written, folder)
