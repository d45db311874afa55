"""Segmentation and saliency metrics, on numpy arrays."""
