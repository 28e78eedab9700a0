"""Execution: many chains. Scheduling, worker processes, cost estimates, and the folder of results that a run writes.

Imports: core, components, config, store, loop.
"""
