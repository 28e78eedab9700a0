"""Training: the training loop of all torch generators, and pretrained models in Hugging Face format.

Imports: core.
"""
