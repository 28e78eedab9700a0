"""The report of re-tested claims: one HTML page from `claims.json`."""
