"""Runs a sequence of commands on a small temporary disk. The disk exists only in the mount namespace of this process.

`unshare --user --map-root-user --mount python full_disk.py CONFIG` prints exit codes and outputs as JSON.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from autophagy.common.cli import main as cli
from autophagy.common.execution import cost_estimate as plan
from typer.testing import CliRunner


def command(*words):
    done = CliRunner().invoke(cli.app, [str(word) for word in words])
    return {"code": done.exit_code, "output": done.output, "raised": repr(done.exception) if done.exception else ""}


def main(config):
    with tempfile.TemporaryDirectory() as root:
        disk, elsewhere = Path(root) / "disk", Path(root) / "elsewhere"
        disk.mkdir()
        mount = lambda options: subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", disk], check=True)  # noqa: E731
        mount("size=600k")
        run = ("run", config, "--workers", 1)
        results = {"refused": command(*run, "--store", disk / "store", "--out", elsewhere)}
        results["artifacts when refused"] = len(list(disk.glob("store/artifacts/*/*")))
        spare, plan.RESERVED_BYTES = plan.RESERVED_BYTES, -(10**12)  # start despite the full disk
        results["full"] = command(*run, "--store", disk / "store", "--out", elsewhere)
        results["artifacts when full"] = len(list(disk.glob("store/artifacts/*/*")))
        results["drafts"] = len(list(disk.glob("store/drafts/*")))
        results["verified, full"] = command("verify", "--store", disk / "store")
        mount("remount,size=300m")
        plan.RESERVED_BYTES = spare
        results["continued"] = command(*run, "--store", disk / "store", "--out", elsewhere)
        results["verified, larger"] = command("verify", "--store", disk / "store")
        results["rows"] = str(elsewhere / "tiny-vision" / "rows.parquet")
        results["equal"] = same_rows(config, elsewhere, root)

        mount("remount,ro")
        results["read-only, complete"] = command(*run, "--store", disk / "store", "--out", elsewhere)
        results["read-only, incomplete"] = command(*run, "generations=5", "--store", disk / "store", "--out", elsewhere)
        results["verified, read-only"] = command("verify", "--store", disk / "store")
        results["gc, read-only"] = command("gc", elsewhere / "tiny-vision", "--weights", "--yes", "--store", disk / "store")
        results["results, read-only"] = command(*run, "--store", Path(root) / "store", "--out", disk / "runs")

        mount("remount,rw,size=50m")
        with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"0" * 2**20):
                pass
        results["results, full"] = command(*run, "--store", Path(root) / "store", "--out", disk / "runs")
        results["partial files"] = [path.name for path in disk.glob("runs/*/*") if path.is_file() and path.name.startswith(".")]
        subprocess.run(["umount", "--lazy", disk], check=True)  # pools in it are still memory-mapped
    print(json.dumps(results))


def same_rows(config, elsewhere, root):
    import pandas
    from autophagy import load_config
    from autophagy import run as run_it

    alone = run_it(load_config(config), store=Path(root) / "store")
    return bool(pandas.read_parquet(elsewhere / "tiny-vision" / "rows.parquet").equals(alone))


if __name__ == "__main__":
    main(sys.argv[1])
