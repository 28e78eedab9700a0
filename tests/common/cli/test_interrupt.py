"""Ctrl-C that something swallows comes again, until it is heard; and only then."""

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


def ran(code, **how):
    return subprocess.run([sys.executable, "-c", START + code], capture_output=True, text=True, timeout=120, **how)


@pytest.mark.parametrize("how", SWALLOWED)
def test_an_interrupt_that_is_swallowed_comes_again_until_it_is_heard(how):
    code = f"with repeat_interrupt():\n    {SWALLOWED[how]}\n    print('swallowed')\n    try:\n        time.sleep(60)\n"
    code += "    except KeyboardInterrupt:\n        acknowledge()\n        print('heard')\n    time.sleep(1.5)\n    print('quiet')\n"
    done = ran(code, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert (done.stdout.split(), done.stderr) == (["swallowed", "heard", "quiet"], "")


def test_afterwards_everything_is_as_it_was():
    code = "hooks = lambda: (signal.getsignal(signal.SIGINT), sys.unraisablehook)\nbefore = hooks()\n"
    code += "try:\n    with repeat_interrupt():\n        ctrl_c(); time.sleep(9)\nexcept KeyboardInterrupt:\n    print('raised')\n"
    done = ran(code + "time.sleep(1.5)\nprint(before == hooks())", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert (done.stdout.split(), done.stderr) == (["raised", "True"], "")


def test_where_ctrl_c_is_ignored_it_stays_so():
    done = ran(
        "with repeat_interrupt():\n    ctrl_c(); time.sleep(1.5)\n    print('here')",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert (done.stdout.split(), done.stderr) == (["here"], "")
