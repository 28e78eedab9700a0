"""Run a vision experiment: `python scripts/run_vision.py [CONFIG] [key=value ...]`, by default a VAE on digits."""

import sys
from pathlib import Path

from autophagy.common.cli.main import app

DEFAULT = Path(__file__).parent.parent / "configs" / "vision" / "vae.yaml"

if __name__ == "__main__":
    words = sys.argv[1:]
    app(["run", *([] if any(word.endswith(".yaml") for word in words) else [str(DEFAULT)]), *words])
