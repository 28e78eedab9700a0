"""Published claims about model collapse. Each claim has experiments and a judge (a function of rows that returns checks).

The framework is `autophagy.common.replication`, the configs are in `configs/claims` and the results in `docs/claims.md`. Every module has a
sequence `CLAIMS` and may have a sequence `CONTRADICTIONS`. `pyproject.toml` registers the modules as entry points.

Symbols in the texts: M is the number of rows of a pool, n the number of fits, s^2 the fitted variance, mu the fitted mean.
`variance_scale` is the setting `sampling.variance_scale`, a factor by which the variance of samples differs from that of the model.
"""
