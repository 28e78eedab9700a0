"""Report of re-tested claims: converts `claims.json` to one HTML page."""
