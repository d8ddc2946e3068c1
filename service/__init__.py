"""model-sizing: what a machine-learning model will need, before it is run."""

__version__ = "1.0.0"
