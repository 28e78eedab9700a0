"""Execution: runs many chains. Contains the scheduler, worker processes, cost estimates and the writer of result folders.

Imports: core, components, config, store, loop.
"""
