"""HTML of the samples of a run: a table of all samples (with a slider) and a strip of a few generations for the top of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from ...analysis.run_folder import RunFolder
from ...config.registry import find
from ...core.errors import UserError
from ...core.pool import REAL, Pool

STRIP_SAMPLES = 4
"""Number of samples in a cell of the strip. If samples are texts, the page shows only the first."""

Preview = Callable[[Pool], Markup]
"""Function that renders the rows of a pool as HTML. Entry point of the group `autophagy.show`, one for each modality."""


@dataclass(frozen=True)
class SampleTable:
    """HTML of the samples of every policy and generation."""

    real: Markup | None
    cells: Mapping[str, Mapping[int, Markup]]
    """HTML of the samples, by policy and generation."""
    generations: Sequence[int]


@dataclass(frozen=True)
class SampleStrip:
    """HTML of a few samples of the first, the middle and the last generation."""

    real: Markup | None
    shared: Markup | None
    """Samples of generation 0 if they are the same for all policies. In this case `rows` does not contain generation 0."""
    generations: Sequence[int]
    """Generations in `rows`."""
    rows: Mapping[str, Sequence[Markup]]
    """HTML of each generation in `generations`, by policy."""


def read_samples(run: RunFolder) -> tuple[SampleTable, SampleStrip] | None:
    """Read the samples of a run. Returns None if there is no preview function for the modality."""
    try:
        preview: Preview = find("show", run.modality)
    except UserError:
        return None
    pools = _pools(run.samples)
    real = pools.pop("", {}).get(REAL)
    generations = sorted({generation for own in pools.values() for generation in own})
    cells = {policy: {generation: preview(pool) for generation, pool in own.items()} for policy, own in pools.items()}
    return SampleTable(preview(real) if real else None, cells, generations), _strip(pools, real, generations, preview)


def _pools(samples: Pool) -> dict[str, dict[int, Pool]]:
    """Group samples by policy and generation, in the order of the rows. Real rows have an empty policy."""
    labels = list(zip(samples.list("_policy"), samples.list("_generation"), strict=True))
    slices: dict[str, dict[int, list[Pool]]] = {}
    start = 0
    for (policy, generation), group in groupby(labels):  # slices of adjacent rows are joined, because Pool.take imports pandas
        stop = start + len(list(group))
        slices.setdefault(str(policy), {}).setdefault(int(generation), []).append(samples.slice(start, stop))
        start = stop
    return {policy: {generation: Pool.concat(parts) for generation, parts in own.items()} for policy, own in slices.items()}


def _strip(pools: Mapping[str, Mapping[int, Pool]], real: Pool | None, generations: Sequence[int], preview: Preview) -> SampleStrip:
    """Build the strip of samples from pools by policy and generation."""

    def cell(pool: Pool | None) -> Markup:
        return Markup("") if pool is None else preview(pool.slice(0, min(STRIP_SAMPLES, len(pool))))

    shown = sorted({generations[0], generations[len(generations) // 2], generations[-1]}) if generations else []
    rows = {policy: [cell(own.get(generation)) for generation in shown] for policy, own in pools.items()}
    shared = None
    if len(shown) > 1 and len({row[0] for row in rows.values()}) == 1:
        shared = next(iter(rows.values()))[0]
        shown, rows = shown[1:], {policy: row[1:] for policy, row in rows.items()}
    return SampleStrip(cell(real) if real else None, shared, shown, rows)
