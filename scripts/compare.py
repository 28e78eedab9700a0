"""Put two or more runs side by side: `python scripts/compare.py RUN_TEXT RUN_VISION -o FILE`."""

import sys

from autophagy.common.cli.main import app

if __name__ == "__main__":
    app(["report", *sys.argv[1:]])
