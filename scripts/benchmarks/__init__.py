"""The benchmarks of `scripts/bench.py`.

`row.py` defines what a row of the table is, `processes.py` runs its sides, and `report.py` writes the results. The other modules contain
rows: a function for each side, and a tuple `ROWS` at the end. `rows.py` collects them.
"""
