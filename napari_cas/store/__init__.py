"""The project on disk: images, painted regions, predictions and models as OME-Zarr."""

from napari_cas.store.image import ImageEntry
from napari_cas.store.labels import LabelArray
from napari_cas.store.project import Project
from napari_cas.store.sampling import Intensity
from napari_cas.store.views import PredictionView, Window

__all__ = ["ImageEntry", "Intensity", "LabelArray", "PredictionView", "Project", "Window"]
