"""Report: HTML reports and figures of finished runs (`runs`) and of re-tested claims (`claims`).

Reads files that a run wrote; knows nothing of the loop.

Imports: core, config.registry, store.run_records, analysis, the schema of replication.
"""
