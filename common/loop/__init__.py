"""Loop: runs one chain. Contains real data, cached stages (fit, sample, curate, measure), collection, output checks and the audit.

Start reading at `chain.py`.

Imports: core, components, config, store.
"""
