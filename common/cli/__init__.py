"""CLI: the commands, their messages, progress and Ctrl-C.

Imports every other package, each when a command needs it.
"""
