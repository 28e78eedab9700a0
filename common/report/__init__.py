"""Report: HTML reports and figures of finished runs (`runs`) and of re-tested claims (`claims`).

Reads the files of a run and never imports the code that produces them.

Imports: core, config.registry, store.run_records, analysis, the schema of replication.
"""
