"""The training loop: even visit counts, bit-exact resuming, and an error for a loss that is not finite."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from autophagy import UserError
from autophagy.common.core.device import seeded
from autophagy.common.training.trainer import Training, _Schedule, train, visit_counts
from hypothesis import given
from hypothesis import strategies as st


def problem():
    with seeded(0):
        model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1))
        x = torch.randn(20, 3)
    return model, lambda rows: ((model(x[rows]) - x[rows].sum(1, keepdim=True)) ** 2).mean()


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_killed_fit_resumes_to_identical_weights(tmp_path, monkeypatch):
    training = Training(steps=30, batch=8)
    model, loss = problem()
    whole = train(model, loss, rows=20, training=training, seed=1, scratch=tmp_path / "nothing")
    monkeypatch.setenv("AUTOPHAGY_CHECKPOINT_SECONDS", "0")
    for cut in (1, 11, 29):
        scratch = tmp_path / str(cut)
        scratch.mkdir()
        killed, its_loss = problem()
        calls = 0

        def dies(rows, its_loss=its_loss, cut=cut):
            nonlocal calls
            calls += 1
            if calls > cut:
                raise KeyboardInterrupt
            return its_loss(rows)

        with pytest.raises(KeyboardInterrupt):
            train(killed, dies, rows=20, training=training, seed=1, scratch=scratch)
        resumed, its_loss = problem()
        calls = 0

        def counted(rows, its_loss=its_loss):
            nonlocal calls
            calls += 1
            return its_loss(rows)

        again = train(resumed, counted, rows=20, training=training, seed=1, scratch=scratch)
        assert calls == 30 - cut, "training continues from the checkpoint"
        assert torch.equal(weights(resumed), weights(model))
        assert again.loss == whole.loss


@pytest.mark.parametrize("value", ["often", "-1", "nan"])
def test_invalid_checkpoint_interval_is_rejected(value, tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOPHAGY_CHECKPOINT_SECONDS", value)
    model, loss = problem()
    with pytest.raises(UserError, match=f"AUTOPHAGY_CHECKPOINT_SECONDS: must be a number of seconds >= 0.*not '{value}'"):
        train(model, loss, rows=20, training=Training(steps=2), seed=0, scratch=tmp_path)


def test_global_random_state_is_neither_read_nor_changed(tmp_path):
    training = Training(steps=5, batch=4)
    results = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        model, loss = problem()
        train(model, loss, rows=20, training=training, seed=3, scratch=tmp_path)
        assert torch.equal(torch.get_rng_state(), before)
        results.append(weights(model))
    assert torch.equal(*results)


@pytest.mark.parametrize(("rows", "size", "steps"), [(20, 8, 7), (3, 8, 4), (5, 5, 5), (100, 7, 3)])
def test_visit_counts_match_the_batches_and_differ_by_at_most_1(rows, size, steps):
    dealt = np.concatenate([_Schedule(steps, rows, size, seed=4).batch(step) for step in range(steps)])
    counts = np.bincount(dealt, minlength=rows)
    assert (counts == visit_counts(steps * size, rows=rows, seed=4)).all()
    assert counts.max() - counts.min() <= 1


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 40), st.integers(0, 5))
def test_blocks_of_rows_get_their_share_of_the_steps(first, second, total_batches, seed):
    """Two blocks of rows, and a last epoch of any length: consumed shares equal row shares."""
    rows, total = first + second, total_batches * 7
    counts = visit_counts(total, rows=rows, seed=seed)
    assert counts.sum() == total
    assert abs(counts[:first].sum() - total * first / rows) <= 1


def test_nan_loss_stops_the_fit_and_names_the_step(tmp_path):
    model, loss = problem()
    with pytest.raises(UserError, match=r"loss is nan at step 0 of 5 \(seed 1\)"):
        train(model, lambda rows: loss(rows) * float("nan"), rows=20, training=Training(steps=5), seed=1, scratch=tmp_path)


def test_learning_rate_warms_up_and_decays():
    training = Training(steps=100, warmup=0.1)
    rates = [training.rate(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == 1
    assert rates[-1] < 0.01
    assert rates[9:] == sorted(rates[9:], reverse=True)


def test_exactly_one_of_steps_and_epochs_is_required():
    assert Training(epochs=2, batch=10).steps_for(50) == 10
    with pytest.raises(ValueError, match="exactly one of steps and epochs"):
        Training()
    with pytest.raises(ValueError, match="exactly one of steps and epochs"):
        Training(steps=1, epochs=1)


@pytest.mark.slow  # compiling takes half a minute
def test_compiled_fit_differs_only_by_rounding(tmp_path, monkeypatch):
    losses = []
    for compiled in ("0", "1"):
        monkeypatch.setenv("AUTOPHAGY_COMPILE", compiled)
        model, _ = problem()
        model[1].p = 0.0  # compiled dropout draws other random numbers
        with seeded(0):
            x = torch.randn(20, 3)
        loss = lambda rows, model=model, x=x: ((model(x[rows]) - x[rows].sum(1, keepdim=True)) ** 2).mean()  # noqa: E731
        result = train(model, loss, rows=20, training=Training(steps=30, batch=8), seed=1, scratch=tmp_path)
        losses.append(result.loss)
        assert model._compiled_call_impl is None, "sampling and scoring are not compiled"
    assert losses[0] != 0
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_bad_compile_variable_is_rejected(monkeypatch, tmp_path):
    monkeypatch.setenv("AUTOPHAGY_COMPILE", "yes")
    model, loss = problem()
    with pytest.raises(UserError, match="AUTOPHAGY_COMPILE: must be 0 or 1, not 'yes'"):
        train(model, loss, rows=20, training=Training(steps=1, batch=8), seed=1, scratch=tmp_path)
