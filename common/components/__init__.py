"""Components: everything that a config names with `use`.

Contains the contracts of all kinds (generator, data set, policy, curation, metric, feature model), the implementations that work
for every modality, and the checks that every generator must pass. Authors of plug-ins start here.

Imports: core.
"""
