"""Published claims about model collapse (plural of `Claim`), each with its experiments and its judge.

The framework is `autophagy.common.replication`; the configs are in `configs/claims`. Every module has a sequence `CLAIMS` and may have a
sequence `CONTRADICTIONS`; `pyproject.toml` registers the modules as entry points. `docs/claims.md` has the results.

Symbols in the texts: M is the number of rows of a pool, n the number of fits, s^2 the fitted variance, mu the fitted mean.
`variance_scale` is the setting `sampling.variance_scale`: samples have that many times the variance of the model.
"""
