"""Losses that learn to segment from regions without names. Needs torch and nothing else."""

from napari_cas.losses.cas import CASLoss, CASTerms, cas_loss, cas_terms
from napari_cas.losses.regions import RegionIndex, index_regions

__all__ = ["CASLoss", "CASTerms", "RegionIndex", "cas_loss", "cas_terms", "index_regions"]
