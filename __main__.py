"""`python -m autophagy`, and the command `autophagy`."""

import sys

from .common.cli.interrupt import repeat_interrupt


def main() -> None:
    """Run the command line; a Ctrl-C while it is still being loaded ends it as quietly as one later on."""
    try:
        with repeat_interrupt():
            from .common.cli.main import app

            app()
    except KeyboardInterrupt:
        print("interrupted before anything was done", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
