"""CLI: defines the commands, prints messages and progress, and handles Ctrl-C.

Imports all other packages, but only when a command needs them.
"""
