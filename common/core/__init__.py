"""Core: the basis of all other packages. Contains pools of samples, random streams, errors, canonical JSON, atomic writes, provenance.

Imports no other package of `common`.
"""
