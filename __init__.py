"""autophagy: a testbed for model collapse, the degradation of generative models that are trained on their own output.

    from autophagy import load_config, run

    rows = run(load_config("configs/analytic/gaussian.yaml"))  # a pandas DataFrame with one number per row

Public names are imported on first use. Reading a config or results does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .common.components.curation import CurationResult as CurationResult
    from .common.components.generator import FitResult as FitResult
    from .common.components.metric import MetricInfo as MetricInfo
    from .common.components.metric import MetricInputs as MetricInputs
    from .common.components.policy import AvailableData as AvailableData
    from .common.config.schema import Experiment as Experiment
    from .common.config.schema import experiment as experiment
    from .common.config.schema import load_config as load_config
    from .common.core.errors import UserError as UserError
    from .common.core.pool import Pool as Pool
    from .common.execution.run import run as run
    from .common.report.runs.report import write_report as write_report
    from .common.store import Store as Store

__version__ = "0.2.0"

_MODULES = {
    "AvailableData": ".common.components.policy",
    "CurationResult": ".common.components.curation",
    "Experiment": ".common.config.schema",
    "FitResult": ".common.components.generator",
    "MetricInfo": ".common.components.metric",
    "MetricInputs": ".common.components.metric",
    "Pool": ".common.core.pool",
    "Store": ".common.store",
    "UserError": ".common.core.errors",
    "experiment": ".common.config.schema",
    "load_config": ".common.config.schema",
    "run": ".common.execution.run",
    "write_report": ".common.report.runs.report",
}
"""For each public name, the module that defines it."""

__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(_MODULES[name], __name__), name)
    raise AttributeError(f"module 'autophagy' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
