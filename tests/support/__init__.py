"""Shared test code: small experiments, faulty plug-ins, and functions that kill processes, damage files and record side effects."""
