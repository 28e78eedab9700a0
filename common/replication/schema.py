"""The model of claims and their results: judges build it, `reproduce` writes it to `claims.json`, the report reads it.

Light to import: no engine, no pandas, no scipy. Numbers may be infinite or NaN in memory; JSON has neither, so both are written as null.
Files of format 1 (other field names) are read too.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import copysign, inf, isinf, isnan, nan
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..core.errors import UserError

FORMAT = 2
"""The format of `claims.json` that `reproduce` writes."""
READABLE_FORMATS = (1, 2)

LAW_STANDARD_ERRORS = 4.0
"""Standard errors that an estimate may lie from a true law. A true law fails once in 16,000 checks; a claim has about ten checks."""

Cost = Literal["seconds", "minutes", "gpu"]
CheckVerdict = Literal["holds", "fails", "inconclusive"]
Verdict = Literal["holds", "fails", "inconclusive", "not run"]
VERDICTS: tuple[Verdict, ...] = ("holds", "fails", "inconclusive", "not run")

Number = Annotated[float, BeforeValidator(lambda value: nan if value is None else value)]
"""A float; null in JSON is NaN here."""


class Record(BaseModel):
    """An immutable part of `claims.json`. Unknown fields are errors, so that a misspelt argument is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format_1_names: ClassVar[Mapping[str, str]] = {}
    """Field names of format 1 and the present ones."""

    @model_validator(mode="before")
    @classmethod
    def _rename_format_1(cls, raw: Any) -> Any:
        return cls.with_present_names(raw) if isinstance(raw, dict) else raw

    @classmethod
    def with_present_names(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The same values under the present field names."""
        return {cls.format_1_names.get(name, name): value for name, value in raw.items()}


class Check(Record):
    """One measured number and the value that a claim expects. Build it with the functions of `statistical_checks`."""

    format_1_names = {"about": "label", "rival": "alternative", "rival_z": "alternative_z", "reach": "half_width"}

    label: str
    measured: Number
    low: Number
    high: Number
    """Ends of the 95 % interval."""
    relation: Literal["=", ">", "<", "≈"]
    expected: Number
    z: Number
    """Standard errors between measured and expected; for a band between measured and its nearer end, 0 inside the band."""
    p: Number
    """Probability of a distance at least this large if the expected value (for a band: its nearer end) is true. One-sided for bounds and
    bands."""
    chains: int
    verdict: CheckVerdict
    alternative: float | None = None
    """The value to expect if the claim is wrong. A law holds only if the estimate rules it out."""
    alternative_z: float | None = None
    """Standard errors between measured and `alternative`."""
    half_width: float | None = None
    """Half the width of the band around the expected value; bands only."""

    @model_validator(mode="before")
    @classmethod
    def _rename_format_1(cls, raw: Any) -> Any:
        """Also restores infinite distances in standard errors: JSON has null for them although both values are numbers."""
        if not isinstance(raw, dict):
            return raw
        raw = cls.with_present_names(raw)
        for distance, value in (("z", "expected"), ("alternative_z", "alternative")):
            if distance in raw and raw[distance] is None and raw.get(value) is not None and raw.get("measured") is not None:
                raw[distance] = copysign(inf, raw["measured"] - raw[value])
        return raw

    @model_validator(mode="after")
    def _check_band(self) -> Self:
        if self.is_band and not self.half_width:
            raise ValueError(f"'{self.label}' compares with a band; half_width is {self.half_width}, a positive number was expected")
        return self

    @property
    def is_bound(self) -> bool:
        """True if the check compares with a one-sided bound."""
        return self.relation in "<>"

    @property
    def is_law(self) -> bool:
        """True if the check compares with a law."""
        return self.relation == "="

    @property
    def is_band(self) -> bool:
        """True if the check compares with a band around a published number."""
        return self.relation == "≈"

    @property
    def has_place(self) -> bool:
        """True if both the measured and the expected value are numbers, so that a chart can show them."""
        return not (isnan(self.measured) or isnan(self.expected))

    @property
    def normal_z(self) -> float:
        """The normal deviate with the two-sided probability `p` and the sign of `z`.

        With few chains the standard error is uncertain, so the same `z` is less surprising. Laws are judged by this value: its limit
        `LAW_STANDARD_ERRORS` has the same probability for 20 chains and for 2,000.
        """
        if isinf(self.z) or not self.p:
            return self.z
        from scipy import stats

        return copysign(float(stats.norm.isf(self.p / 2)), self.z)


class Curve(Record):
    """One line of a figure: a law without intervals, or measured points with intervals."""

    label: str
    x: list[Number]
    y: list[Number]
    low: list[Number] | None = None
    high: list[Number] | None = None
    law: bool = False
    """True for a law or a reference line, False for measured points."""

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        lengths = [len(values) for values in (self.x, self.y, self.low, self.high) if values is not None]
        if len(set(lengths)) > 1:
            raise ValueError(f"x, y, low and high of '{self.label}' have lengths {lengths}; equal lengths were expected")
        return self


class Figure(Record):
    """Curves over one pair of axes; `x` and `y` are the axis titles."""

    x: str
    y: str
    curves: list[Curve]
    log_x: bool = False
    log_y: bool = False


class PublishedClaim(Record):
    """A published claim and how it is tested. All of it is fixed before an experiment runs."""

    format_1_names = {"says": "statement", "picture": "figure"}

    id: str
    statement: str
    """The claim in one sentence."""
    source: str
    """Authors, year, theorem or figure."""
    cost: Cost
    experiments: Mapping[str, Annotated[list[str], Field(min_length=1)]]
    """By name: a config (a path, or a file of `configs/claims`) and changes to it. Claims that name the same experiment share its run."""
    observable: str
    """What is measured."""
    expects: str
    """The law, the ordering or the published numbers."""
    tolerance: str
    """How close counts as agreement, and why."""
    needs: str = ""
    """Requirements besides a CPU, for example a GPU or downloads from the Hugging Face hub."""


class ClaimResult(PublishedClaim):
    """A claim with its verdict and the checks behind it, or the reason why it was not run."""

    model_config = ConfigDict(extra="ignore")

    verdict: Verdict
    not_run: str = ""
    """Why the experiments could not be run; empty if they were."""
    headline: Check | None = None
    """The check that decided: the first one with the claim's verdict."""
    checks: list[Check] = []
    figure: Figure | None = None
    note: str = ""
    """Context for the numbers, written by the judge."""

    @model_validator(mode="after")
    def _check_evidence(self) -> Self:
        if self.verdict != "not run" and not (self.headline and self.checks):
            raise ValueError(f"the verdict is '{self.verdict}' but there are no checks; at least one was expected")
        return self

    @property
    def holding(self) -> int:
        """The number of checks that hold."""
        return sum(check.verdict == "holds" for check in self.checks)


class Contradiction(Record):
    """A question to which the literature gives two answers, and the condition that decides between them."""

    format_1_names = {"says": "question"}

    question: str
    sides: list[tuple[str, list[str]]]
    """Each answer, and the ids of the claims that support it."""
    decided_by: str


class ClaimsFile(Record):
    """The content of `claims.json`."""

    model_config = ConfigDict(extra="ignore")

    format: int
    claims: list[ClaimResult]
    contradictions: list[Contradiction] = []

    @field_validator("format")
    @classmethod
    def _check_format(cls, number: int) -> int:
        if number not in READABLE_FORMATS:
            raise ValueError(
                f"format {number} was found; this version of autophagy reads formats {' and '.join(map(str, READABLE_FORMATS))}"
            )
        return number

    @field_validator("claims")
    @classmethod
    def _check_unique_ids(cls, claims: list[ClaimResult]) -> list[ClaimResult]:
        ids = [claim.id for claim in claims]
        if duplicates := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"claim '{duplicates[0]}' appears {ids.count(duplicates[0])} times; each claim may appear once")
        return claims

    @classmethod
    def read(cls, source: str | Path) -> ClaimsFile:
        """Read a file. UserError if it is missing, unreadable or not in the format that `reproduce` writes."""
        try:
            raw = Path(source).read_bytes()
        except OSError as error:
            raise UserError(f"{source}: cannot be read: {error.strerror}; `autophagy reproduce` writes it") from error
        try:
            return cls.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            reason = ": ".join(part for part in (place, first["msg"].removeprefix("Value error, ")) if part)
            raise UserError(f"{source}: not a claims file of `autophagy reproduce`: {reason}") from error
