"""The class-agnostic segmentation loss and its baselines."""
