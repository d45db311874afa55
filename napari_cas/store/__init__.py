"""The project on disk: images, painted regions, predictions and models as OME-Zarr."""
