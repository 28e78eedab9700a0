"""What the literature says of model collapse, each claim with an experiment and a verdict."""
