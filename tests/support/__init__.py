"""Shared test code: small experiments, faulty plug-ins, and tools that kill processes, damage files and record side effects."""
