"""autophagy: a testbed for model collapse, what becomes of generative models that feed on what they made.

from autophagy import load_config, run

rows = run(load_config("configs/analytic/gaussian.yaml"))   # a pandas frame, one number a row
"""

from __future__ import annotations

from typing import Any

__version__ = "0.2.0"

_PUBLIC = {
    "Experiment": ".common.config.schema",
    "load_config": ".common.config.schema",
    "experiment": ".common.config.schema",
    "run": ".common.execution.run",
    "Pool": ".common.core.pool",
    "Store": ".common.store",
    "UserError": ".common.core.errors",
    "write_report": ".common.report.runs.report",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    """Import public names when they are first used: reading rows must not cost an import of torch."""
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(_PUBLIC[name], __name__), name)
    raise AttributeError(f"module 'autophagy' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
