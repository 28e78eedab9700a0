"""Reading the folder of a finished run."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from autophagy.common.analysis.run_folder import Provenance, RunFolder
from autophagy.common.core.errors import UserError
from autophagy.common.core.pool import REAL, Pool
from support.result_rows import as_columns, metric_rows


def write_run(folder, generators):
    """A run folder as version 0.1 wrote it. The policy `a` trains one chain for each generator."""
    rows = [
        {**row, "generator": generator, "modality": "text"} for generator in generators for row in metric_rows("loss", {"a": [[1.0, 2.0]]})
    ]
    parquet.write_table(pa.table(as_columns(rows)), folder / "rows.parquet")
    (folder / "config.yaml").write_text("name: tiny\nquestion: why?\n")
    model = {"policy": "a", "seed": 0, "generation": 0, "key": "ab", "torch": "2", "machine": "x86_64", "seconds": 1.0}
    (folder / "provenance.json").write_text(json.dumps({"models": [model], "seconds": {"fit": 1.0}}))
    real = Pool.of(text=["r"]).note(policy="", generator="", generation=REAL)
    samples = [Pool.of(text=["s"]).note(policy="a", generator=generator, generation=0) for generator in generators]
    (folder / "samples").mkdir()
    Pool.concat([real, *samples]).save(folder / "samples")
    return RunFolder.read(folder)


def test_run_with_one_generator(tmp_path):
    run = write_run(tmp_path, ["g"])
    assert (run.name, run.modality, run.generations, run.seeds) == ("tiny", "text", 1, 1)
    assert run.policies == ["a"] and run.generators == ["g"]
    assert np.array_equal(run.metrics["loss"].chains[0].values, [1.0, 2.0])
    assert run.provenance.environment == {"torch": ["2"], "machine": ["x86_64"]} and run.provenance.seconds == {"fit": 1.0}
    assert run.samples.list("_policy") == ["", "a"]


def test_with_several_generators_each_has_its_own_chains(tmp_path):
    run = write_run(tmp_path, ["g", "h"])
    assert run.policies == ["a · g", "a · h"]
    assert [chain.policy for chain in run.metrics["loss"].chains] == run.policies
    assert run.samples.list("_policy") == ["", "a · g", "a · h"]


def test_peak_memory_is_a_range_and_not_part_of_the_environment():
    models = [{"key": "a", "torch": "2.1", "peak_bytes": 7}, {"key": "b", "torch": "2.2", "peak_bytes": 5}]
    provenance = Provenance(models, {})
    assert provenance.environment == {"torch": ["2.1", "2.2"]} and provenance.peak_bytes == (5, 7)
    assert Provenance([{"torch": "2"}], {}).peak_bytes is None


@pytest.mark.parametrize("text", ["[", "{}", '{"models": []}', "[]"])
def test_damaged_provenance_is_rejected(text, tmp_path):
    run = write_run(tmp_path, ["g"])
    (tmp_path / "provenance.json").write_text(text)
    with pytest.raises(UserError, match=r"provenance.json cannot be read: "):
        _ = run.provenance


def test_missing_samples_are_rejected(tmp_path):
    run = write_run(tmp_path, ["g"])
    (tmp_path / "samples" / "pool.arrow").unlink()
    with pytest.raises(UserError, match=r"samples/pool.arrow cannot be read: "):
        _ = run.samples
