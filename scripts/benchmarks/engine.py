"""Rows `engine` and `gpu-use`: the cost of the engine on top of fits and samples, and the share of time in which a GPU works."""

from __future__ import annotations

import itertools
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .language import GPT2, SMALL_LLAMA, TINY, Language, causal_lm
from .row import Rival, Row, Task


@dataclass(frozen=True)
class Chain:
    """A chain of a language model."""

    language: Language
    rows: int
    """Rows of the real pool and of each generated pool."""
    generations: int = 2


def experiment(chain: Chain, *, seed: int) -> Any:
    """Build the experiment of a chain: every generation trains new weights on the output of the last one."""
    from autophagy.common.config.schema import experiment

    lm = chain.language
    training = {"steps": lm.steps, "batch": lm.batch, "precision": lm.precision}
    generator = {
        "use": "causal-lm", "architecture": dict(lm.architecture), "vocabulary": lm.vocabulary, "context": lm.context,
        "prompt_tokens": 1, "ends": lm.ends, "training": training,
    }  # fmt: skip
    return experiment(
        {
            "name": "chain", "seeds": [seed], "generations": chain.generations, "size": chain.rows, "eval_size": 8, "init": "scratch",
            "data": {"use": "bible", "words": 64}, "generator": generator, "policies": ["replace"], "metrics": ["distinct"],
        }
    )  # fmt: skip


def run_chain(chain: Chain, folder: Path) -> Task:
    """Run the chain with one worker and an empty store."""
    from autophagy import run

    numbers = itertools.count()
    return Task(lambda: run(experiment(chain, seed=0), store=folder / f"store-{next(numbers)}", workers=1))


def direct_calls(chain: Chain, folder: Path) -> Task:
    """Call `fit` and `sample` as the chain does, without saving, checking or measuring anything."""
    from autophagy.text.data import Bible

    def generations() -> None:
        lm = chain.language
        model = causal_lm(lm, steps=lm.steps, batch=lm.batch)
        pool = Bible(words=64).load(eval_size=8)["train"].only(["text"]).slice(0, chain.rows)
        for generation in range(chain.generations + 1):
            model.fit(pool, seed=generation, scratch=folder, fresh=generation > 0)
            pool = model.sample(chain.rows, seed=generation)

    return Task(generations)


# ---- use of the GPU -----------------------------------------------------------------------------------------------


def run_watched(chain: Chain, folder: Path) -> Task:
    """Run a chain. The result is the mean use of the GPU in percent while the chain fits or samples."""
    from autophagy import run
    from autophagy.common.execution.workers import Event

    numbers = itertools.count()

    def busy() -> float:
        activities = [(time.time(), "start")]

        def note(event: Event) -> None:
            activities.append((time.time(), event.activity))

        with gpu_use() as samples:
            run(experiment(chain, seed=0), store=folder / f"store-{next(numbers)}", workers=1, progress=note)
        return mean_use(samples, activities)

    return Task(busy, float)


@contextmanager
def gpu_use(*, milliseconds: int = 50) -> Iterator[list[tuple[float, float]]]:
    """Sample the use of the GPU with nvidia-smi during a block: pairs of the time and the percentage."""
    samples: list[tuple[float, float]] = []
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0", f"--loop-ms={milliseconds}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = process.stdout
        reader = threading.Thread(target=lambda: samples.extend((time.time(), float(line)) for line in lines))
        reader.start()
        try:
            yield samples
        finally:
            process.terminate()
            reader.join()


def mean_use(samples: list[tuple[float, float]], activities: list[tuple[float, str]]) -> float:
    """Average the samples that were taken during the activities `fit` and `sample`. Each activity lasts until the next one starts."""

    def activity(moment: float) -> str:
        return next((name for started, name in reversed(activities) if started <= moment), "")

    busy = [percent for moment, percent in samples if activity(moment) in ("fit", "sample")]
    if not busy:
        raise ValueError("nvidia-smi gave no sample during a fit or while sampling")
    return sum(busy) / len(busy)


ENGINE = Chain(replace(SMALL_LLAMA, batch=16, steps=20), rows=128)
WATCHED = Chain(replace(GPT2, batch=32, steps=300, precision="bfloat16"), rows=2048)
SMALLEST = Chain(TINY, rows=8)
ROWS = (
    Row(
        "engine", "2.3 M Llama, 3 fits and samples", "s", run_chain, ENGINE, SMALLEST,
        [Rival("the same fits and samples called directly", direct_calls, 1 / 1.02)],
    ),
    Row("gpu-use", "87 M GPT-2, bfloat16", "%", run_watched, WATCHED, SMALLEST, device="cuda", at_least=80, pairs=1, warm_up=True),
)  # fmt: skip
