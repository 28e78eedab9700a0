"""The framework that re-tests published claims: statistical checks, claims, the runner and the format of its results.

The claims themselves live in the package `autophagy.claims` (plural of `Claim`); installed packages can add more.

| module | contents |
|---|---|
| `schema` | the one model of claims, checks, figures and results; the format of `claims.json` |
| `statistical_checks` | estimates from rows, and the tests that turn an estimate into a `Check` |
| `claim` | `Claim`, `JudgeOutput`, helpers that build figures, and the registry |
| `reproduce` | runs the experiments of claims, calls their judges, writes the results |
"""
