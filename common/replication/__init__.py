"""Framework for re-testing published claims: statistical checks, claims, the runner and the format of the results.

The claims themselves are in the package `autophagy.claims`. Installed packages can add more.

| module | contents |
|---|---|
| `schema` | data model of claims, checks, figures and results; format of `claims.json` |
| `statistical_checks` | estimates from rows; statistical tests, each of which returns a `Check` |
| `claim` | `Claim`, `JudgeOutput`, functions that build figures, and the registry of claims |
| `reproduce` | runs the experiments of claims, calls the judge functions and writes the results |
"""
