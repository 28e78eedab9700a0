"""Components: what a config can name and what plug-in authors read.

Contracts (generator, dataset, policy, curation, metric, feature extractor), the implementations that fit every modality, and the
checks that every generator must pass.

Imports: core.
"""
