"""Re-testing published claims: their experiments run through the ordinary engine and store, then each claim's judge reads the rows.

Claims that name the same experiment share its run. Results appear as `claims.json` and `claims.md`, after every class of cost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from ..config.schema import Experiment, load_config
from ..core.atomic_write import atomic_write
from ..core.errors import UserError
from ..execution.run import chains, run
from ..execution.workers import ProgressCallback
from .claim import CONFIGS, COSTS, Claim, JudgeOutput, contradictions
from .statistical_checks import Check

FORMAT = 1


@dataclass(frozen=True)
class ClaimResult:
    """A claim and what was found, or why it could not be tested."""

    claim: Claim
    finding: JudgeOutput | None
    not_run: str = ""

    @property
    def verdict(self) -> str:
        return self.finding.verdict if self.finding else "not run"

    @property
    def headline(self) -> Check | None:
        """The check that decided: the one that failed or told nothing, else the first."""
        if self.finding is None:
            return None
        return next((check for check in self.finding.checks if check.verdict == self.finding.verdict), self.finding.checks[0])


def reproduce(
    wanted: Sequence[Claim],
    *,
    store: str | Path,
    out: str | Path,
    workers: int = 1,
    watching: Callable[[int], AbstractContextManager[ProgressCallback]],
    told: Callable[[ClaimResult], None] = lambda judged: None,
) -> list[ClaimResult]:
    """Run the experiments of claims and judge them, the cheap ones first; `<out>/claims.json` and each experiment's folder are written.

    watching: gives a watcher for so many generations. told: hears of every verdict as it falls. A claim that needs what this
    machine has not (weights from the hub) is told of as not run, with the reason; any other UserError is raised.
    """
    out, found = Path(out), []
    _refuse_two_under_one_name(wanted)
    for group in _groups(wanted):
        experiments = list({name: one for claim in group for name, one in experiments_of(claim).items()}.values())
        not_run, rows = "", None
        try:
            with watching(sum(chains(one) * (one.generations + 1) for one in experiments)) as watch:
                rows = run(*experiments, store=store, out=out, workers=workers, watch=watch)
        except UserError as error:
            if not all(claim.needs for claim in group):
                raise
            not_run = " ".join(str(error).split())  # a line of a table
        by_name = {one.name: one for one in experiments}
        for claim in group:
            judged = ClaimResult(claim, None, not_run)
            if rows is not None:
                judged = ClaimResult(claim, judge(claim, {name: _rows_of(rows, by_name[name]) for name in claim.experiments}))
            found.append(judged)
            told(judged)
        _write(found, out)
    return found


def experiments_of(claim: Claim) -> dict[str, Experiment]:
    """The experiments of a claim, by name."""
    found = {}
    for name, (config, *changes) in claim.experiments.items():
        path = Path(config)
        found[name] = load_config(path if path.parent != Path() else CONFIGS / path, [*changes, f"name={name}"])
    return found


def judge(claim: Claim, rows: Any) -> JudgeOutput:
    """What a claim's judge finds in the rows of its experiments."""
    finding = claim.judge(rows)
    if not finding.checks:
        raise ValueError(f"the judge of {claim.id} checked nothing")
    return finding


def _rows_of(rows: Any, experiment: Experiment) -> Any:
    own = rows[rows.experiment == experiment.name]
    own.attrs["worlds"] = experiment.data.settings.get("worlds", 1)
    return own


def _groups(wanted: Sequence[Claim]) -> Iterator[list[Claim]]:
    """What is run together: claims of one cost; what needs more than a processor, one by one."""
    for cost in COSTS:
        together = [claim for claim in wanted if claim.cost == cost and not claim.needs]
        yield from ([together] if together else [])
        yield from ([claim] for claim in wanted if claim.cost == cost and claim.needs)


def _refuse_two_under_one_name(wanted: Sequence[Claim]) -> None:
    seen: dict[str, tuple[str, list[str]]] = {}
    for claim in wanted:
        for name, written in claim.experiments.items():
            other, before = seen.setdefault(name, (claim.id, list(written)))
            if before != list(written):
                raise UserError(f"{claim.id} and {other} mean different experiments by '{name}'")


# ---- what is written --------------------------------------------------------------------------------------------------


def _write(found: Sequence[ClaimResult], out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_plain(found), indent=1, ensure_ascii=False)
        atomic_write(out / "claims.json", lambda path: path.write_text(text, encoding="utf-8"))
        atomic_write(out / "claims.md", lambda path: path.write_text(markdown(found), encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--out: {out} cannot be written: {error.strerror}") from error


def _plain(found: Sequence[ClaimResult]) -> dict[str, Any]:
    ids = {judged.claim.id for judged in found}
    return _finite(
        {
            "format": FORMAT,
            "claims": [_claim(judged) for judged in found],
            "contradictions": [asdict(one) for one in contradictions() if any(ids & set(side) for _, side in one.sides)],
        }
    )


def _claim(judged: ClaimResult) -> dict[str, Any]:
    claim, finding = judged.claim, judged.finding
    plain = {
        name: getattr(claim, name) for name in ("id", "says", "source", "cost", "observable", "expects", "tolerance", "needs")
    }  # fmt: skip
    plain |= {"experiments": {name: list(written) for name, written in claim.experiments.items()}}
    plain |= {"verdict": judged.verdict, "not_run": judged.not_run}
    if finding is not None:
        plain |= {"headline": asdict(judged.headline), "checks": [asdict(check) for check in finding.checks]}
        plain |= {"picture": asdict(finding.picture), "note": finding.note}
    return plain


def _finite(value: Any) -> Any:
    """Plain values without infinity and NaN, which JSON does not know: they become null."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not isfinite(value) else value


def markdown(found: Sequence[ClaimResult]) -> str:
    """The verdicts as a table, as the README shows it."""
    lines = ["| | claim | verdict | measured | expected | z |", "|---|---|---|---|---|---|"]
    for judged in found:
        cells = (judged.claim.id, judged.claim.says, *(measured(judged.headline) if judged.headline else (judged.not_run, "", "")))
        name, says, *numbers = (re.sub(r"([\\|^*])", r"\\\1", cell) for cell in cells)
        lines.append("| " + " | ".join((name, says, f"**{judged.verdict}**", *numbers)) + " |")
    return "\n".join(lines) + "\n"


def measured(check: Check) -> tuple[str, str, str]:
    """A check in words: what was measured with its interval, what was expected, and how many standard errors lie between."""
    found = f"{check.about}: {check.measured:.3g} [{check.low:.3g}, {check.high:.3g}]"
    band = "" if check.reach is None else f" ± {check.reach:.2g}"
    return found, f"{check.relation} {check.expected:.3g}{band}", f"{check.z:+.1f}"
