"""Sampling, fitting, predicting and checkpoints: torch, no Qt."""
