"""Core: what every other package uses. Pools of samples, random streams, errors, canonical JSON, atomic writes, provenance.

Imports no other package of `common`.
"""
