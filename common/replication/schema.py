"""Data model of claims and their results. Judges create the records, `reproduce` writes them to `claims.json` and the report reads them.

The module imports no engine, pandas or scipy. Numbers may be infinite or NaN in memory. JSON has no such numbers, so both are written as
null. Files of format 1, which have other field names, can also be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import copysign, inf, isinf, isnan, nan
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..core.errors import UserError

FORMAT = 2
"""Version of the format of `claims.json` that `reproduce` writes."""
READABLE_FORMATS = (1, 2)

LAW_STANDARD_ERRORS = 4.0
"""Allowed distance between an estimate and a law, in standard errors. A true law fails once in 16,000 checks; a claim has about ten."""

Cost = Literal["seconds", "minutes", "gpu"]
CheckVerdict = Literal["holds", "fails", "inconclusive"]
Verdict = Literal["holds", "fails", "inconclusive", "not run"]
VERDICTS: tuple[Verdict, ...] = ("holds", "fails", "inconclusive", "not run")

Number = Annotated[float, BeforeValidator(lambda value: nan if value is None else value)]
"""A float. null in JSON is read as NaN."""


class Record(BaseModel):
    """Base model of the parts of `claims.json`: immutable. Unknown fields are errors, so that misspelt arguments are detected."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format_1_names: ClassVar[Mapping[str, str]] = {}
    """Field names of format 1, each with the current name."""

    @model_validator(mode="before")
    @classmethod
    def _rename_format_1(cls, raw: Any) -> Any:
        return cls.with_present_names(raw) if isinstance(raw, dict) else raw

    @classmethod
    def with_present_names(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values with the field names of format 1 replaced by current ones."""
        return {cls.format_1_names.get(name, name): value for name, value in raw.items()}


class Check(Record):
    """Comparison of a measured number with the value that a claim expects. Created by the functions of `statistical_checks`."""

    format_1_names = {"about": "label", "rival": "alternative", "rival_z": "alternative_z", "reach": "half_width"}

    label: str
    measured: Number
    low: Number
    high: Number
    """`low` and `high` are the ends of the 95 % interval."""
    relation: Literal["=", ">", "<", "≈"]
    expected: Number
    z: Number
    """Distance of the measured from the expected value, in standard errors. For a band: from the nearest point of the band, 0 inside."""
    p: Number
    """Probability of a distance of at least `z` if the expected value (for a band: its nearer end) is true. One-sided for bounds and
    bands."""
    chains: int
    verdict: CheckVerdict
    alternative: float | None = None
    """Expected value if the claim is wrong. A law holds only if the estimate rules out the alternative."""
    alternative_z: float | None = None
    """Distance of the measured value from `alternative`, in standard errors."""
    half_width: float | None = None
    """Half the width of the band around the expected value. None for laws and bounds."""

    @model_validator(mode="before")
    @classmethod
    def _rename_format_1(cls, raw: Any) -> Any:
        """Rename the fields of format 1 and restore infinite `z` and `alternative_z`, which are null in JSON."""
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
            raise ValueError(f"'{self.label}' compares with a band; half_width is {self.half_width}, but must be a positive number")
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
        """True if a chart can show the check: neither the measured nor the expected value is NaN."""
        return not (isnan(self.measured) or isnan(self.expected))

    @property
    def normal_z(self) -> float:
        """Normal deviate that has the two-sided probability `p` and the sign of `z`.

        With few chains the standard error is uncertain, so a given `z` is more probable. Laws are judged by the normal deviate, because its
        limit `LAW_STANDARD_ERRORS` has the same probability for 20 and for 2,000 chains.
        """
        if isinf(self.z) or not self.p:
            return self.z
        from scipy import stats

        return copysign(float(stats.norm.isf(self.p / 2)), self.z)


class Curve(Record):
    """One curve of a figure: either a law, without intervals, or measured points with intervals."""

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
    """Curves on a common pair of axes. `x` and `y` are the axis titles."""

    x: str
    y: str
    curves: list[Curve]
    log_x: bool = False
    log_y: bool = False


class PublishedClaim(Record):
    """A published claim with the plan of its test. All fields are fixed before an experiment runs."""

    format_1_names = {"says": "statement", "picture": "figure"}

    id: str
    statement: str
    """The claim in one sentence."""
    source: str
    """Authors, year, theorem or figure."""
    cost: Cost
    experiments: Mapping[str, Annotated[list[str], Field(min_length=1)]]
    """Experiments by name: a config (a path, or a file of `configs/claims`) and its changes. Claims that name the same one share a run."""
    observable: str
    """Quantity that is measured."""
    expects: str
    """Expected result: a law, an ordering or published numbers."""
    tolerance: str
    """Criterion of agreement between measured and expected values, with its reason."""
    needs: str = ""
    """Requirements in addition to a CPU, for example a GPU or downloads from the Hugging Face hub."""


class ClaimResult(PublishedClaim):
    """A claim with its verdict and its checks, or with the reason why it was not run."""

    model_config = ConfigDict(extra="ignore")

    verdict: Verdict
    not_run: str = ""
    """Reason why the experiments could not be run. Empty if they were run."""
    headline: Check | None = None
    """The first check that has the same verdict as the claim."""
    checks: list[Check] = []
    figure: Figure | None = None
    note: str = ""
    """Explanation of the numbers, from the judge."""

    @model_validator(mode="after")
    def _check_evidence(self) -> Self:
        if self.verdict != "not run" and not (self.headline and self.checks):
            raise ValueError(f"the verdict is '{self.verdict}' but there are no checks; at least one is required")
        return self

    @property
    def holding(self) -> int:
        """Number of checks that hold."""
        return sum(check.verdict == "holds" for check in self.checks)


class Contradiction(Record):
    """A question with contradictory answers in the literature, and the condition on which the answer depends."""

    format_1_names = {"says": "question"}

    question: str
    sides: list[tuple[str, list[str]]]
    """(answer, ids of the claims that support it), one pair per answer."""
    decided_by: str


class ClaimsFile(Record):
    """Content of `claims.json`."""

    model_config = ConfigDict(extra="ignore")

    format: int
    claims: list[ClaimResult]
    contradictions: list[Contradiction] = []

    @field_validator("format")
    @classmethod
    def _check_format(cls, number: int) -> int:
        if number not in READABLE_FORMATS:
            raise ValueError(
                f"format {number} is not supported; this version of autophagy reads formats {' and '.join(map(str, READABLE_FORMATS))}"
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
        """Read `claims.json`. Raises UserError if the file is missing, unreadable or not in a format that `reproduce` writes."""
        try:
            raw = Path(source).read_bytes()
        except OSError as error:
            raise UserError(f"{source}: cannot be read: {error.strerror}; run `autophagy reproduce` to create it") from error
        try:
            return cls.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            reason = ": ".join(part for part in (place, first["msg"].removeprefix("Value error, ")) if part)
            raise UserError(f"{source}: not a claims file of `autophagy reproduce`: {reason}") from error
