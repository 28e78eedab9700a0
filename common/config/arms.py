"""Arms and members: what an experiment compares, and which generators live in its chains.

An *arm* is a policy and what happens to samples on their way to it; a *member* is a generator with its base model.
Both are written as a part (`{use: name, ...}`) with a few keys of their own beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from ..core.errors import short_repr
from . import renames
from .registry import ComponentSpec, SettingError, checker, explain, under
from .renames import rename_keys

Start = Literal["base", "previous", "scratch"]
ARM_KEYS = ("curation", "synthetic_fraction", "learn_from")
MEMBER_KEYS = ("base",)


@dataclass(frozen=True)
class Arm:
    """A line in the figures: what the generations of a chain train on, and how that is collected."""

    policy: ComponentSpec
    curation: ComponentSpec | None = None
    """What is kept of what was sampled; None keeps all."""
    synthetic_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of model-made rows among what is collected each generation; the others are real rows no generation has seen."""
    learn_from: Literal["self", "other", "union"] = "self"
    """Whose output counts as a member's history: its own, that of the other members, or an equal part of everyone's."""

    @classmethod
    def parse(cls, written: Any) -> Arm:
        """From `name` or `{use: name, curation: ..., synthetic_fraction: ..., learn_from: ..., settings of the policy}`."""
        if isinstance(written, Mapping):
            written = rename_keys(written, renames.ARM_KEYS)
        settings, own = _split(written, ARM_KEYS)
        policy = ComponentSpec.parse("policy", settings)
        curation = own.pop("curation", None)
        if curation in (None, "none"):
            parsed = None
        else:
            parsed = under("curation", lambda: ComponentSpec.parse("curation", curation))
        try:
            checked = checker(cls).validate_python({**own, "policy": policy, "curation": parsed})
        except ValidationError as error:
            raise SettingError("\n".join(explain(error))) from error
        if checked.collects and not uses_synthetic(policy):
            key = "curation" if checked.curation else "synthetic_fraction" if checked.synthetic_fraction < 1 else "learn_from"
            raise SettingError(f"{key}: policy '{policy.use}' trains on nothing that was made, so this would do nothing")
        return checked

    @property
    def collects(self) -> bool:
        """Whether anything happens to samples before they become history."""
        return self.curation is not None or self.synthetic_fraction < 1 or self.learn_from != "self"

    @property
    def written(self) -> dict[str, Any]:
        """As it would be written in a config; the keys of its own only where they say something."""
        found = self.policy.written
        if self.curation is not None:
            found["curation"] = self.curation.written
        if self.synthetic_fraction < 1:
            found["synthetic_fraction"] = self.synthetic_fraction
        if self.learn_from != "self":
            found["learn_from"] = self.learn_from
        return found


@dataclass(frozen=True)
class Member:
    """A generator of an experiment, and the one its base model is trained with."""

    name: str
    part: ComponentSpec
    base_settings: Mapping[str, Any] | None = None

    @classmethod
    def parse(cls, name: str, written: Any) -> Member:
        """From `name` or `{use: name, base: {settings}, settings of the generator}`."""
        settings, own = _split(written, MEMBER_KEYS)
        if not isinstance(own.get("base"), Mapping | None):
            raise SettingError(f"base: settings that differ from the generator's, or {{}}, not {short_repr(own['base'])}")
        member = cls(name, ComponentSpec.parse("generator", settings), own.get("base"))
        if member.base_settings is not None:
            under("base", lambda: member.part.but(member.base_settings))
        return member

    @property
    def base(self) -> ComponentSpec | None:
        """The generator with the settings its base model is trained with; None if there is none."""
        return None if self.base_settings is None else self.part.but(self.base_settings)

    @property
    def has_base(self) -> bool:
        """Whether there is anything that `init: base` could start from."""
        return self.base_settings is not None or bool(self.part.settings.get("pretrained"))

    def start(self, init: Start | None) -> Start:
        """What each generation starts from: `init`, or left out, `base` where there is one, else `scratch`."""
        return init or ("base" if self.has_base else "scratch")

    @property
    def written(self) -> dict[str, Any]:
        return self.part.written if self.base_settings is None else {**self.part.written, "base": dict(self.base_settings)}


def uses_synthetic(policy: ComponentSpec) -> bool:
    """Whether a policy ever trains on what was made; the real controls do not."""
    return getattr(policy.build(), "uses_synthetic", True)


def with_controls(arms: Mapping[str, Arm]) -> dict[str, Arm]:
    """The arms, and for each the controls its policy names: real data alone, and made data of the same size."""
    found = dict(arms)
    for name, arm in arms.items():
        for written in getattr(arm.policy.build(), "controls", ()):
            control = Arm(ComponentSpec.parse("policy", written))
            if control not in found.values():
                found[control.policy.use if control.policy.use not in found else f"{control.policy.use}-for-{name}"] = control
    return found


def _split(written: Any, own: tuple[str, ...]) -> tuple[Any, dict[str, Any]]:
    """What is written of a part, and the keys that are not the part's own."""
    if not isinstance(written, Mapping):
        return written, {}
    return {key: value for key, value in written.items() if key not in own}, {key: written[key] for key in own if key in written}
