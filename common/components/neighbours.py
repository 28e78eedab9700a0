"""Exact nearest neighbours and balls of feature vectors, at the speed of matrix products.

|x - y|^2 = |x|^2 + |y|^2 - 2 x.y is fast, but its rounding errors separate equal rows and reorder near ones. So products only
narrow the search down, with a bound of their error that always holds:

1. products in float32 of rows that are centred at their mean decide nearly all pairs of spread data;
2. rows with many open pairs are multiplied in float64 (on the CPU if the device has no float64);
3. distances of pairs that are still open are computed directly, in float64 with scipy.

So results equal those of `scipy.spatial.distance.cdist` on every device. Equal rows are compared once, because collapsed models
repeat rows. Memory is O((n + m) d).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..core.device import compute_in, device

if TYPE_CHECKING:
    import torch

Side = Literal["x", "y"]
"""Which of two sets the balls are around."""
BLOCK_PAIRS = 8_000_000
"""Number of distances that are held in memory at once."""
OPEN_PAIRS = 256
"""Largest number of open pairs of a row that are computed directly without float64 products."""


def blocks(n: int, size: int) -> Iterator[slice]:
    """Divide n rows into slices of at most `size` rows."""
    return (slice(start, min(n, start + size)) for start in range(0, n, max(1, size)))


def on_device(values: np.ndarray) -> torch.Tensor:
    """Copy float32 or float64 values to the device. float64 stays on the CPU if the device does not have it (mps)."""
    import torch

    stays = values.dtype == np.float64 and device().type == "mps"
    return torch.from_numpy(np.ascontiguousarray(values)).to("cpu" if stays else device())


@dataclass(frozen=True)
class DistinctRows:
    """A set of rows in which equal rows are kept once."""

    values: np.ndarray
    """The different rows; float32 or float64 [k, d]."""
    counts: np.ndarray
    """How often each of them occurs; int64 [k]."""
    inverse: np.ndarray
    """For each row of the set, its place in `values`; int64 [n]."""

    @classmethod
    def of(cls, rows: np.ndarray) -> DistinctRows:
        """Find the different rows of a set [n, d]."""
        rows = rows if rows.dtype == np.float32 else rows.astype(np.float64)
        digests = [blake2b((row + 0).tobytes(), digest_size=16).digest() for row in rows]  # + 0 makes -0.0 equal to 0.0
        _, first, inverse, counts = np.unique(np.array(digests, "V16"), return_index=True, return_inverse=True, return_counts=True)
        order = np.argsort(first)
        return cls(rows if len(first) == len(rows) else rows[first[order]], counts[order], np.argsort(order)[inverse.reshape(-1)])

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class CentredRows:
    """Rows minus an origin, scaled to at most about 1, on a device."""

    values: torch.Tensor
    squares: torch.Tensor
    """Squared lengths of the rows [n]."""

    @classmethod
    def of(cls, rows: np.ndarray, origin: np.ndarray, scale: float, *, dtype: type[np.floating]) -> CentredRows:
        """Centre rows [n, d]."""
        values, squares = np.empty(rows.shape, dtype), np.empty(len(rows), dtype)
        for part in blocks(len(rows), 512):
            values[part] = (rows[part].astype(np.float64) - origin) / scale
            squares[part] = np.einsum("nd,nd->n", values[part], values[part], dtype=np.float64)
        return cls(on_device(values), on_device(squares))

    def __getitem__(self, rows: slice | np.ndarray) -> CentredRows:
        return CentredRows(self.values[rows], self.squares[rows])

    @property
    def error(self) -> float:
        """Bound of the error of a squared distance, divided by the sum of both squared lengths, for any order of summation.

        In float64 it includes the error of scipy's distances.
        """
        import torch

        unit = torch.finfo(self.values.dtype).eps / 2
        return (self.values.shape[1] + 32) * unit * (4 if self.values.dtype == torch.float64 else 1)

    def slack(self, total: torch.Tensor) -> torch.Tensor:
        """Bound of the error of squared distances whose sums of squared lengths are `total`. Includes underflow."""
        import torch

        return total * self.error + 8 * self.values.shape[1] * torch.finfo(self.values.dtype).tiny

    @compute_in("float32")  # never tf32
    def bounds(self, others: CentredRows) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a lower and an upper bound of the squared distance of each pair of rows, [n, m] each."""
        import torch

        total = self.squares[:, None] + others.squares
        squared = torch.addmm(total, self.values, others.values.T, alpha=-2)
        slack = self.slack(total)
        return squared - slack, squared.add_(slack)


@dataclass(frozen=True)
class Pairs:
    """All pairs of a row of one set and a row of another set. Both sets can be the same object."""

    x: DistinctRows
    y: DistinctRows

    @cached_property
    def _origin(self) -> np.ndarray:
        return np.asarray(self.y.values.mean(axis=0, dtype=np.float64))

    @cached_property
    def _scale(self) -> float:
        """A power of two that is at least the largest distance from the origin along one axis."""
        ends = [extreme(rows.values, axis=0) - self._origin for rows in (self.x, self.y) for extreme in (np.min, np.max)]
        return float(2.0 ** np.clip(np.frexp(np.abs(ends).max())[1], -1000, 1000))

    @cached_property
    def _centred(self) -> tuple[CentredRows, CentredRows]:
        return self._centre(np.float32)

    @cached_property
    def _centred_in_float64(self) -> tuple[CentredRows, CentredRows]:
        return self._centre(np.float64)

    def _centre(self, dtype: type[np.floating]) -> tuple[CentredRows, CentredRows]:
        x = CentredRows.of(self.x.values, self._origin, self._scale, dtype=dtype)
        return x, x if self.x is self.y else CentredRows.of(self.y.values, self._origin, self._scale, dtype=dtype)

    def distances(self, row: int, columns: np.ndarray) -> np.ndarray:
        """Compute the distances of one row of x to some rows of y directly. Returns float64 [k]."""
        from scipy.spatial.distance import cdist

        return np.asarray(cdist(self.x.values[row : row + 1], self.y.values[columns])[0])

    def _in_float64(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, torch.Tensor, torch.Tensor]]:
        """Yield blocks of some rows of x with the bounds of their squared distances to all rows of y."""
        for part in blocks(len(rows), BLOCK_PAIRS // 2 // len(self.y)):
            x, y = self._centred_in_float64
            yield rows[part], *x[rows[part]].bounds(y)

    # ---- nearest neighbours -------------------------------------------------------------------------------------------

    def candidates(self, k: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each row of x, in any order, with rows of y among which its k nearest are for certain. k <= number of rows of y."""
        x, y = self._centred
        lower, columns = self._lowest(min(len(y.squares), 4 * k + 28))
        upper = lower + 2 * x.slack(x.squares[:, None] + y.squares[columns])
        limit = upper.topk(k, largest=False).values.amax(1)  # at least the k-th smallest squared distance
        found, places = (lower <= limit[:, None]).cpu().numpy(), columns.cpu().numpy()
        complete = ~found.all(1) | (places.shape[1] == len(self.y))  # no row of y beyond the kept ones is within the limit
        for row in np.flatnonzero(complete):
            yield int(row), places[row][found[row]]
        for rows, low, high in self._in_float64(np.flatnonzero(~complete)):
            inside = low <= high.topk(k, largest=False).values.amax(1)[:, None]
            for row, marks in zip(rows, inside.cpu().numpy(), strict=True):
                yield int(row), np.flatnonzero(marks)

    def _lowest(self, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the k lowest bounds of the squared distances of each row of x, and their rows of y, [n, k] each."""
        import torch

        x, y = self._centred
        n, m, same = len(self.x), len(self.y), self.x is self.y
        lowest = x.squares.new_full((n, k), torch.inf)
        columns = torch.zeros((n, k), dtype=torch.int64, device=lowest.device)

        def keep(rows: slice, bounds: torch.Tensor, first: int) -> None:
            values, places = bounds.topk(min(k, bounds.shape[1]), largest=False)
            values, places = torch.cat([lowest[rows], values], 1), torch.cat([columns[rows], places + first], 1)
            lowest[rows], order = values.topk(k, largest=False)
            columns[rows] = places.gather(1, order)

        for rows in blocks(n, BLOCK_PAIRS // m):
            first = rows.start if same else 0  # distances within one set are symmetric, so half of them suffice
            bounds, _ = x[rows].bounds(y[first:])
            keep(rows, bounds, first)
            if same and rows.stop < n:
                keep(slice(rows.stop, n), bounds[:, rows.stop - first :].T.contiguous(), first)
        return lowest, columns

    # ---- balls --------------------------------------------------------------------------------------------------------

    def within(self, radii: Mapping[Side, np.ndarray]) -> Mapping[Side, tuple[np.ndarray, np.ndarray]]:
        """Count the pairs whose distance is at most the radius of the ball around the row of x ([n] radii) or of y ([m] radii).

        Returns for each kind of ball how many rows of y form such a pair with each row of x [n], and the reverse [m]; float64.
        Rows that occur several times count several times.
        """
        counts = {side: (np.zeros(len(self.x)), np.zeros(len(self.y))) for side in radii}
        x, y = self._centred
        crowded = []
        for part in blocks(len(self.x), BLOCK_PAIRS // len(self.y)):
            rows = np.arange(part.start, part.stop)
            left_out = self._count(rows, *x[part].bounds(y), radii, counts, tolerance=1e-6, most=OPEN_PAIRS)
            crowded.append(rows[left_out])
        for rows, lower, upper in self._in_float64(np.concatenate(crowded)):
            tolerance = 4 * (self.x.values.shape[1] + 32) * float(np.finfo(np.float64).eps)
            self._count(rows, lower, upper, radii, counts, tolerance=tolerance, most=len(radii) * len(self.y))
        return counts

    @compute_in("float32")
    def _count(
        self,
        rows: np.ndarray,
        lower: torch.Tensor,
        upper: torch.Tensor,
        radii: Mapping[Side, np.ndarray],
        counts: Mapping[Side, tuple[np.ndarray, np.ndarray]],
        *,
        tolerance: float,
        most: int,
    ) -> np.ndarray:
        """Add the pairs of some rows of x to the counts. Returns bool [n]: rows that were left out, with over `most` open pairs."""
        import torch

        def like_bounds(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(values).to(lower.dtype).to(lower.device)

        sure, undecided = {}, {}
        for side, radius in radii.items():
            limit = (radius[rows, None] if side == "x" else radius[None, :]) / self._scale
            sure[side] = upper <= like_bounds(limit**2 * (1 - tolerance))
            undecided[side] = (lower <= like_bounds(limit**2 * (1 + tolerance))) & ~sure[side]
        left_out = torch.stack([marks.sum(1) for marks in undecided.values()]).sum(0) > most
        weights = like_bounds(self.x.counts[rows].astype(np.float64)), like_bounds(self.y.counts.astype(np.float64))
        for side, (of_x, of_y) in counts.items():
            sure[side][left_out] = undecided[side][left_out] = False
            inside = sure[side].to(lower.dtype)  # sums of whole numbers are exact
            of_x[rows] += (inside @ weights[1]).cpu().numpy()
            of_y += (weights[0] @ inside).cpu().numpy()
            pairs = undecided[side].nonzero().cpu().numpy()
            places, starts, lengths = np.unique(pairs[:, 0], return_index=True, return_counts=True)
            for row, start, length in zip(rows[places], starts, lengths, strict=True):
                columns = pairs[start : start + length, 1]
                columns = columns[self.distances(row, columns) <= (radii[side][row] if side == "x" else radii[side][columns])]
                of_x[row] += self.y.counts[columns].sum()
                of_y[columns] += self.x.counts[row]
        return np.asarray(left_out.cpu().numpy())
