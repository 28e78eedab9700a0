"""`python -m autophagy`, and the command `autophagy`."""

from __future__ import annotations

import sys

from .common.cli.interrupt import repeat_interrupt


def main() -> None:
    """Run the command line. Ctrl-C ends it without a traceback, even while modules are still being imported."""
    try:
        with repeat_interrupt():
            from .common.cli.main import app

            app()
    except KeyboardInterrupt:
        print("interrupted before anything was done", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
