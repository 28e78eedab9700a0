"""`python -m autophagy`."""

from .common.cli import main

main()
