"""HTML reports and figures of finished runs (`runs`) and HTML reports of re-tested claims (`claims`).

The report reads the files of a run. It never imports the code that produces them.

Imports: core, config.registry, store.run_records, analysis, the schema of replication.
"""
