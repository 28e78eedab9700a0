"""Reports of re-tested claims."""
