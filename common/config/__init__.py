"""Config: loads YAML, finds components, and validates an `Experiment` with its arms and members.

Imports: core, components.
"""
