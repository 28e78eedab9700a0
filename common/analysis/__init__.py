"""Analysis of finished runs: statistics (onset, half-life, intervals, verdicts) and export to other tools.

Imports: core, store.run_records.
"""
