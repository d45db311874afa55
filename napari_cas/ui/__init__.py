"""The napari plugin: views, layers and their wiring."""
