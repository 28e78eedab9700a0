"""Config: from YAML to a validated `Experiment`. Loading, the registry of components, arms, cross-field validation.

Imports: core, components.
"""
