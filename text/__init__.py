"""The text track: data sets, generators, curations, metrics and feature models for text."""
