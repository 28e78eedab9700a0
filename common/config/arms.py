"""Arms and members of an experiment.

An *arm* is a policy with its collection settings. An experiment compares arms. A *member* is one generator of a chain with the
settings of its base model. A config writes both as a component (`{use: name, ...}`) with a few extra keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from ..components import policy as policy_module
from ..core.errors import short_repr
from . import renames
from .registry import ComponentSpec, SettingError, error_lines, prefix_errors, type_adapter

Start = Literal["base", "previous", "scratch"]
ARM_KEYS = ("curation", "synthetic_fraction", "learn_from")
MEMBER_KEYS = ("base",)


@dataclass(frozen=True)
class Arm:
    """A policy with its collection settings: `curation`, `synthetic_fraction` and `learn_from`. One line in the figures."""

    policy: ComponentSpec
    curation: ComponentSpec | None = None
    """The curation that selects or edits collected rows before they become history. None keeps all rows unchanged."""
    synthetic_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Fraction of generated rows among the collected rows of each generation. The other rows are unseen real rows."""
    learn_from: Literal["self", "other", "union"] = "self"
    """Source of a member's history: its own output, the output of the other members, or an equal part of every member's output."""

    @classmethod
    def parse(cls, raw: Any) -> Arm:
        """Parse `name` or `{use: name, curation: ..., synthetic_fraction: ..., learn_from: ..., settings of the policy}`."""
        if isinstance(raw, Mapping):
            raw = renames.rename_keys(raw, renames.RENAMED_ARM_KEYS)
        settings, extra = _split(raw, ARM_KEYS)
        policy = ComponentSpec.parse("policy", settings)
        curation = extra.pop("curation", None)
        spec = None if curation in (None, "none") else prefix_errors("curation", lambda: ComponentSpec.parse("curation", curation))
        try:
            arm: Arm = type_adapter(cls).validate_python({**extra, "policy": policy, "curation": spec})
        except ValidationError as error:
            raise SettingError("\n".join(error_lines(error))) from error
        if arm.changes_history and not uses_synthetic(policy):
            key = "curation" if arm.curation else "synthetic_fraction" if arm.synthetic_fraction < 1 else "learn_from"
            raise SettingError(f"{key}: has no effect, since policy '{policy.use}' never trains on generated rows; remove this key")
        return arm

    @property
    def changes_history(self) -> bool:
        """True if the history contains anything but the unchanged output of the member."""
        return self.curation is not None or self.synthetic_fraction < 1 or self.learn_from != "self"

    @property
    def config(self) -> dict[str, Any]:
        """The arm in the form of a config. Extra keys with their default value are left out."""
        config = self.policy.config
        if self.curation is not None:
            config["curation"] = self.curation.config
        if self.synthetic_fraction < 1:
            config["synthetic_fraction"] = self.synthetic_fraction
        if self.learn_from != "self":
            config["learn_from"] = self.learn_from
        return config


@dataclass(frozen=True)
class Member:
    """One generator of a chain."""

    name: str
    generator: ComponentSpec
    base_settings: Mapping[str, Any] | None = None
    """Settings of the base model that differ from those of the generator. None if no base model is trained."""

    @classmethod
    def parse(cls, name: str, raw: Any) -> Member:
        """Parse `name` or `{use: name, base: {settings}, settings of the generator}`."""
        settings, extra = _split(raw, MEMBER_KEYS)
        base = extra.get("base")
        if not isinstance(base, Mapping | None):
            raise SettingError(f"base: must be a mapping of settings that differ from the generator's (or {{}}), not {short_repr(base)}")
        member = cls(name, ComponentSpec.parse("generator", settings), base)
        if base is not None:
            prefix_errors("base", lambda: member.generator.with_settings(base))
        return member

    @property
    def base(self) -> ComponentSpec | None:
        """The generator with the settings of its base model. None if no base model is trained."""
        return None if self.base_settings is None else self.generator.with_settings(self.base_settings)

    @property
    def has_base(self) -> bool:
        """True if `init: base` is possible: the config has a `base` section or names pretrained weights."""
        return self.base_settings is not None or bool(self.generator.settings.get("pretrained"))

    def start(self, init: Start | None) -> Start:
        """Return the start of each generation: `init` if it is set, else `base` if the member has a base model, else `scratch`."""
        return init or ("base" if self.has_base else "scratch")

    @property
    def config(self) -> dict[str, Any]:
        """The member in the form of a config."""
        base = {} if self.base_settings is None else {"base": dict(self.base_settings)}
        return {**self.generator.config, **base}


def uses_synthetic(policy: ComponentSpec) -> bool:
    """Return True if a policy trains on generated rows, False if it trains on real rows only."""
    return policy_module.uses_synthetic(policy.build())


def with_controls(arms: Mapping[str, Arm]) -> dict[str, Arm]:
    """Return the arms and the control arms that their policies declare (real data alone, matched pool sizes)."""
    result = dict(arms)
    for name, arm in arms.items():
        for raw in policy_module.controls_of(arm.policy.build()):
            control = Arm(ComponentSpec.parse("policy", raw))
            if control not in result.values():
                result[control.policy.use if control.policy.use not in result else f"{control.policy.use}-for-{name}"] = control
    return result


def _split(raw: Any, extra_keys: tuple[str, ...]) -> tuple[Any, dict[str, Any]]:
    """Split a mapping into the settings of the component and the values of `extra_keys`. Other values are returned unchanged."""
    if not isinstance(raw, Mapping):
        return raw, {}
    own = {key: value for key, value in raw.items() if key not in extra_keys}
    return own, {key: raw[key] for key in extra_keys if key in raw}
