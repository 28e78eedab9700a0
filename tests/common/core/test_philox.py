"""Philox: known answers, and normal numbers that are standard normal, independent, and independent of how they are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from autophagy.common.components.pretend_device import pretend_device, register
from autophagy.common.core import philox

register()  # before any test computes gradients

CPU = "cpu"


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0, 0, 0, 0], (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], (0xA4093822, 0x299F31D0), "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_known_answers(counter, key, expected):
    """The test vectors that Salmon et al. publish with their library Random123."""
    import torch

    words = philox.philox([torch.tensor([word]) for word in counter], key)
    assert " ".join(f"{int(word):08x}" for word in words) == expected


def test_a_number_depends_only_on_its_position():
    every = philox.normal(3, steps=range(6), rows=range(40), numbers=13, device=CPU)
    some = philox.normal(3, steps=range(2, 5), rows=range(7, 21), numbers=13, device=CPU)
    assert np.array_equal(every[2:5, 7:21], some)
    integers = [philox.integers(3, 1000, step=1, rows=rows, device=CPU) for rows in (range(40), range(7, 21))]
    assert np.array_equal(integers[0][7:21], integers[1])


def test_seeds_and_rows_beyond_32_bits_give_other_numbers():
    draws = [
        philox.normal(seed, steps=range(1), rows=range(row, row + 1), numbers=4, device=CPU).numpy().tobytes()
        for seed in (1, 1 + 2**32)
        for row in (0, 2**32)
    ]
    assert len(set(draws)) == 4


def test_normal_numbers_are_standard_normal():
    from scipy.stats import kstest

    z = philox.normal(0, steps=range(20), rows=range(100), numbers=100, device=CPU).numpy().ravel()
    assert kstest(z, "norm").pvalue > 0.01
    assert np.mean(np.abs(z) > 4) == pytest.approx(6.3e-5, abs=6e-5), "tails"
    assert np.isfinite(z).all()


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (2, 0, 1)], ids=["steps", "rows", "numbers"])
def test_normal_numbers_are_independent(axes):
    """The correlation of neighbours along an axis is N(0, 1 / count) for independent numbers. So is that of their squares."""
    z = np.transpose(philox.normal(1, steps=range(60), rows=range(60), numbers=60, device=CPU).numpy(), axes).astype(np.float64)
    for values in (z, (z**2 - 1) / np.sqrt(2)):
        products = values[1:] * values[:-1]
        assert abs(products.mean()) < 4 / np.sqrt(products.size)


def test_neighbouring_seeds_are_independent():
    x, y = (philox.normal(seed, steps=range(1), rows=range(200), numbers=200, device=CPU).numpy().ravel() for seed in (5, 6))
    assert abs(np.mean(x * y)) < 4 / np.sqrt(x.size)


def test_integers_are_uniform():
    from scipy.stats import chisquare

    counts = np.bincount(philox.integers(0, 7, step=0, rows=range(70_000), device=CPU).numpy(), minlength=7)
    assert len(counts) == 7 and chisquare(counts).pvalue > 0.01


@pytest.mark.parametrize(("word", "magnitude"), [(0, 6.77), (2**32 - 1, 0.0)])
def test_extreme_words_give_finite_numbers(word, magnitude):
    import torch

    first, second = philox._box_muller(torch.tensor([word]), torch.tensor([0]))
    assert abs(float(first)) == pytest.approx(magnitude, abs=0.01) and float(second) == 0


def test_the_device_does_not_change_the_numbers():
    import torch

    host = philox.normal(2, steps=range(3), rows=range(4), numbers=5, device=CPU)
    with pretend_device():
        on_device = philox.normal(2, steps=range(3), rows=range(4), numbers=5, device=torch.device("pretend"))
        assert on_device.device.type == "pretend"
        assert torch.equal(on_device.cpu(), host)
