"""The engine, shared by every modality. It imports neither text, vision nor analytic.

Packages, in import order; each may import only those before it:
core, components, config, store, training, loop, execution, replication, analysis, report, cli.
"""
