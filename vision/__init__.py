"""The vision track: data, generators, metrics and samples made of images."""
