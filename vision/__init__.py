"""The vision track: image data sets, generators, feature models and metrics."""
