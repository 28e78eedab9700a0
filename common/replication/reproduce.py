"""Runner for claims: runs the experiments with the ordinary engine and store, then calls the judge of each claim on the rows.

An experiment that several claims name is run once. Results are written to `claims.json` and `claims.md` after every group of claims.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.schema import Experiment, load_config
from ..core.atomic_write import atomic_write
from ..core.errors import UserError
from ..execution.run import run
from ..execution.workers import ProgressCallback
from .claim import CONFIGS, COSTS, Claim, JudgeOutput, Rows, contradictions
from .schema import FORMAT, Check, ClaimResult, ClaimsFile, PublishedClaim

if TYPE_CHECKING:
    import pandas


def reproduce(
    claims: Sequence[Claim],
    *,
    store: str | Path,
    out: str | Path,
    workers: int | None = 1,
    progress: Callable[[int], AbstractContextManager[ProgressCallback]],
    on_result: Callable[[ClaimResult], None] = lambda result: None,
) -> list[ClaimResult]:
    """Run the experiments of claims, cheap claims first, and judge the results.

    Writes `claims.json`, `claims.md` and a folder per experiment into `out`. Returns the results in the order in which they were computed.

    progress: function that takes a number of generations and returns a context manager. The context manager gives a progress callback.
    on_result: function that is called with each result as soon as it is known.

    If a claim has requirements (`needs`) and its experiments raise a UserError, its verdict is "not run" and the message is the reason.
    For other claims the UserError is raised.
    """
    out = Path(out)
    results: list[ClaimResult] = []
    _check_experiment_names(claims)
    for group in _groups(claims):
        experiments = {name: experiment for claim in group for name, experiment in experiments_of(claim).items()}
        reason, rows = "", None
        try:
            with progress(sum(one.chains * (one.generations + 1) for one in experiments.values())) as callback:
                rows = run(*experiments.values(), store=store, out=out, workers=workers, progress=callback)
        except UserError as error:
            if not all(claim.needs for claim in group):
                raise
            reason = " ".join(str(error).split())  # the reason is shown in one line of a table
        for claim in group:
            if rows is None:
                result = result_of(claim, None, not_run=reason)
            else:
                result = result_of(claim, judge(claim, {name: _rows_of(rows, experiments[name]) for name in claim.experiments}))
            results.append(result)
            on_result(result)
        write_results(results, out)
    return results


def experiments_of(claim: Claim) -> dict[str, Experiment]:
    """Load the experiments of a claim. Returns them by name."""
    experiments = {}
    for name, (config, *changes) in claim.experiments.items():
        path = Path(config)
        experiments[name] = load_config(path if path.parent != Path() else CONFIGS / path, [*changes, f"name={name}"])
    return experiments


def judge(claim: Claim, rows: Rows) -> JudgeOutput:
    """Call the judge of a claim. Raises ValueError if it returns no checks."""
    output = claim.judge(rows)
    if not output.checks:
        raise ValueError(f"claim {claim.id}: the judge function returned no checks; at least one is required")
    return output


def result_of(claim: Claim, output: JudgeOutput | None, *, not_run: str = "") -> ClaimResult:
    """Build the result of a claim from the output of its judge or, if `output` is None, from the reason `not_run`."""
    published = {name: getattr(claim, name) for name in PublishedClaim.model_fields}
    if output is None:
        return ClaimResult(**published, verdict="not run", not_run=not_run)
    headline = next(check for check in output.checks if check.verdict == output.verdict)
    return ClaimResult(
        **published,
        verdict=output.verdict,
        headline=headline,
        checks=list(output.checks),
        figure=output.figure,
        note=output.note,
    )


def _rows_of(rows: pandas.DataFrame, experiment: Experiment) -> pandas.DataFrame:
    """Return the rows of one experiment. Their attribute `worlds` is the number of replicates in a seed."""
    matches = rows[rows.experiment == experiment.name]
    matches.attrs["worlds"] = experiment.data.settings.get("replicates", 1)
    return matches


def _groups(claims: Sequence[Claim]) -> Iterator[list[Claim]]:
    """Group claims that are run together: claims of the same cost. A claim with requirements is in a group of its own."""
    for cost in COSTS:
        if together := [claim for claim in claims if claim.cost == cost and not claim.needs]:
            yield together
        yield from ([claim] for claim in claims if claim.cost == cost and claim.needs)


def _check_experiment_names(claims: Sequence[Claim]) -> None:
    """Raise UserError if two claims use the same experiment name for different experiments."""
    first_use: dict[str, Claim] = {}
    for claim in claims:
        for name, config in claim.experiments.items():
            other = first_use.setdefault(name, claim)
            if other.experiments[name] != config:
                raise UserError(
                    f"experiment '{name}' is defined differently by claims {other.id} ({' '.join(other.experiments[name])}) "
                    f"and {claim.id} ({' '.join(config)}); rename one of them"
                )


# ---- output -------------------------------------------------------------------------------------------------------------


def write_results(results: Sequence[ClaimResult], out: Path) -> None:
    """Write `claims.json` and `claims.md`. Raises UserError if the folder is not writable."""
    ids = {result.id for result in results}
    relevant = [one for one in contradictions() if any(ids & set(side) for _, side in one.sides)]
    text = ClaimsFile(format=FORMAT, claims=list(results), contradictions=relevant).model_dump_json(indent=1)
    try:
        out.mkdir(parents=True, exist_ok=True)
        atomic_write(out / "claims.json", lambda path: path.write_text(text, encoding="utf-8"))
        atomic_write(out / "claims.md", lambda path: path.write_text(markdown(results), encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--out: {out} cannot be written: {error.strerror}") from error


def markdown(results: Sequence[ClaimResult]) -> str:
    """Return the verdicts as a Markdown table in the format of `docs/claims.md`."""
    lines = ["| | claim | verdict | measured | expected | z |", "|---|---|---|---|---|---|"]
    for result in results:
        cells = (result.id, result.statement, *(describe(result.headline) if result.headline else (result.not_run, "", "")))
        claim_id, statement, *numbers = (re.sub(r"([\\|^*])", r"\\\1", cell) for cell in cells)
        lines.append("| " + " | ".join((claim_id, statement, f"**{result.verdict}**", *numbers)) + " |")
    return "\n".join(lines) + "\n"


def describe(check: Check) -> tuple[str, str, str]:
    """Return a check as three texts: measured value with interval, expected value, and the distance between them in standard errors."""
    measured = f"{check.label}: {check.measured:.3g} [{check.low:.3g}, {check.high:.3g}]"
    band = "" if check.half_width is None else f" ± {check.half_width:.2g}"
    return measured, f"{check.relation} {check.expected:.3g}{band}", f"{check.z:+.1f}"
