"""Networks that turn an image into logits for M softmax channels, behind :func:`create_model`."""

from napari_cas.models.base import SegmentationModel
from napari_cas.models.factory import create_model
from napari_cas.models.quick import QuickModel
from napari_cas.models.whole import WholeModel

__all__ = ["QuickModel", "SegmentationModel", "WholeModel", "create_model"]
