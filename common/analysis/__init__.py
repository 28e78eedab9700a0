"""Analysis: statistics of finished runs (onset, half-life, intervals, verdicts) and export to other tools.

Imports: core, store.run_records.
"""
