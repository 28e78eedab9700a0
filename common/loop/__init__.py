"""Loop: one chain. Real data, cached stages (fit, sample, curate, measure), collection, validation of outputs, audit.

Start reading at `chain.py`.

Imports: core, components, config, store.
"""
