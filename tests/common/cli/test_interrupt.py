"""An interrupt (Ctrl-C) that a library swallows is repeated until the command acknowledges it, and never after that."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

START = """
import os, signal, sys, time
from autophagy.common.cli.interrupt import acknowledge, repeat_interrupt
ctrl_c = lambda: os.kill(os.getpid(), signal.SIGINT)
"""
SWALLOWED = {
    "a bare except": "try:\n        ctrl_c(); time.sleep(9)\n    except:\n        pass",
    "a finalizer": "class Thing:\n        __del__ = lambda self: (ctrl_c(), time.sleep(9))\n    Thing()",
    "twice": "for _ in range(2):\n        try:\n            ctrl_c(); time.sleep(9)\n        except:\n            pass",
}


def run_script(code, **options):
    return subprocess.run([sys.executable, "-c", START + code], capture_output=True, text=True, timeout=120, **options)


@pytest.mark.parametrize("case", SWALLOWED)
def test_swallowed_interrupt_is_repeated_until_acknowledged(case):
    code = f"with repeat_interrupt():\n    {SWALLOWED[case]}\n    print('swallowed')\n    try:\n        time.sleep(60)\n"
    code += "    except KeyboardInterrupt:\n        acknowledge()\n        print('acknowledged')\n    time.sleep(1.5)\n    print('quiet')\n"
    done = run_script(code, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert (done.stdout.split(), done.stderr) == (["swallowed", "acknowledged", "quiet"], "")


def test_handlers_are_restored_afterwards():
    code = "hooks = lambda: (signal.getsignal(signal.SIGINT), sys.unraisablehook)\nbefore = hooks()\n"
    code += "try:\n    with repeat_interrupt():\n        ctrl_c(); time.sleep(9)\nexcept KeyboardInterrupt:\n    print('raised')\n"
    done = run_script(code + "time.sleep(1.5)\nprint(before == hooks())", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert (done.stdout.split(), done.stderr) == (["raised", "True"], "")


def test_ignored_ctrl_c_stays_ignored():
    done = run_script(
        "with repeat_interrupt():\n    ctrl_c(); time.sleep(1.5)\n    print('here')",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert (done.stdout.split(), done.stderr) == (["here"], "")
