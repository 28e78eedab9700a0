"""The text track: data, generators, metrics and samples made of strings."""
