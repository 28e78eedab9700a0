"""What `claims.json` says: published claims with their checks, verdicts and pictures, as `reproduce` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from math import copysign, inf, isinf, nan
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from scipy import stats

from ...core.errors import UserError

FORMAT = 1
"""The format of claims.json that is read here."""

Verdict = Literal["holds", "fails", "inconclusive", "not run"]
VERDICTS: tuple[Verdict, ...] = ("holds", "fails", "inconclusive", "not run")
Number = float | None
"""JSON knows neither infinity nor NaN: both are null."""


class Read(BaseModel):
    """A part of the file; what else is in it is of no concern here."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Check(Read):
    """A measured number beside what is said of it."""

    about: str
    measured: Number
    low: Number
    high: Number
    relation: Literal["=", ">", "<", "≈"]
    expected: Number
    z: Number
    p: Number
    chains: int
    verdict: Literal["holds", "fails", "inconclusive"]
    rival: Number = None
    rival_z: Number = None
    reach: Number = None

    @model_validator(mode="after")
    def _banded(self) -> Self:
        if self.relation == "≈" and not self.reach:
            raise ValueError(f"'{self.about}' is held against a band, and its reach is {self.reach}")
        return self

    @property
    def bound(self) -> bool:
        """Whether it is held against a bound that it has to be clear of."""
        return self.relation in "<>"

    @property
    def law(self) -> bool:
        """Whether it is held against a law."""
        return self.relation == "="

    @property
    def away(self) -> float:
        """Standard errors between measured and expected: infinite for a distance without scatter, NaN where there is no number."""
        return _away(self.z, self.measured, self.expected)

    @property
    def rival_away(self) -> float:
        """Standard errors between measured and the rival."""
        return _away(self.rival_z, self.measured, self.rival)

    @property
    def likeness(self) -> float:
        """The distance from a law in standard errors known exactly: as unlikely (`p`) as `away` is of few chains, whose scatter is a guess.

        Laws are refused by this one: 4 of it are the same chance for 20 chains as for 2,000.
        """
        if isinf(self.away) or not self.p:
            return self.away
        return copysign(float(stats.norm.isf(self.p / 2)), self.away)


def _away(z: Number, measured: Number, expected: Number) -> float:
    if z is not None:
        return z
    return nan if measured is None or expected is None else copysign(inf, measured - expected)


class Curve(Read):
    """A line of a picture: a law, or measured points with intervals."""

    label: str
    x: Sequence[Number]
    y: Sequence[Number]
    low: Sequence[Number] | None = None
    high: Sequence[Number] | None = None
    law: bool = False

    @model_validator(mode="after")
    def _of_one_length(self) -> Self:
        lengths = [len(one) for one in (self.x, self.y, self.low, self.high) if one is not None]
        if len(set(lengths)) > 1:
            raise ValueError(f"x, y and intervals of '{self.label}' are {lengths} long; one length was expected")
        return self


class Figure(Read):
    """Curves over one pair of axes."""

    x: str
    y: str
    curves: Sequence[Curve]
    log_x: bool = False
    log_y: bool = False


class Claim(Read):
    """A claim and what was found, or why it was not run."""

    id: str
    says: str
    source: str
    cost: str
    observable: str
    expects: str
    tolerance: str
    needs: str = ""
    experiments: dict[str, Annotated[list[str], Field(min_length=1)]]
    """By name: a config and the changes to it."""
    verdict: Verdict
    not_run: str = ""
    headline: Check | None = None
    checks: Sequence[Check] = ()
    picture: Figure | None = None
    note: str = ""

    @model_validator(mode="after")
    def _judged_or_not(self) -> Self:
        if self.verdict != "not run" and not (self.headline and self.checks):
            raise ValueError(f"'{self.verdict}', yet there is no check")
        return self

    @property
    def holding(self) -> int:
        """Checks that hold."""
        return sum(check.verdict == "holds" for check in self.checks)


class Contradiction(Read):
    """Claims that cannot both be true as they are usually put."""

    says: str
    sides: Sequence[tuple[str, Sequence[str]]]
    """What is said, and the ids of the claims that bear it out."""
    decided_by: str


class ClaimsFile(Read):
    """The file."""

    format: int
    claims: Sequence[Claim]
    contradictions: Sequence[Contradiction] = ()

    @field_validator("format")
    @classmethod
    def _known(cls, found: int) -> int:
        if found != FORMAT:
            raise ValueError(f"{found} was found, this version of autophagy reads {FORMAT}")
        return found

    @field_validator("claims")
    @classmethod
    def _each_once(cls, claims: Sequence[Claim]) -> Sequence[Claim]:
        ids = [claim.id for claim in claims]
        if twice := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"'{twice[0]}' is there twice")
        return claims

    @classmethod
    def read(cls, source: str | Path) -> ClaimsFile:
        """From a file. UserError if it cannot be read or says something else than `reproduce` does."""
        try:
            return cls.model_validate_json(Path(source).read_bytes())
        except OSError as error:
            raise UserError(f"{source}: cannot be read: {error.strerror}; `autophagy reproduce` writes it") from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            said = ": ".join(part for part in (place, first["msg"].removeprefix("Value error, ")) if part)
            raise UserError(f"{source}: is not what `autophagy reproduce` writes: {said}") from error
