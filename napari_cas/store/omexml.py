"""The OME-XML file of a collection, for readers that list images by it.

Schema: http://www.openmicroscopy.org/Schemas/OME/2016-06
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cas.store.image import ImageEntry

_NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_TYPES = {"float32": "float", "float64": "double"}
_OME_TYPES = {"uint8", "int8", "uint16", "int16", "uint32", "int32", "float", "double"}
_UNITS = {
    "micrometer": "µm", "nanometer": "nm", "millimeter": "mm", "centimeter": "cm", "meter": "m",
    "angstrom": "Å",
}  # fmt: skip


def ome_xml(entries: Sequence[ImageEntry]) -> str:
    """Return OME-XML that names the images and their sizes; image k is at path "k"."""
    root = ET.Element("OME", {"xmlns": _NAMESPACE})
    for number, entry in enumerate(entries):
        image = ET.SubElement(root, "Image", {"ID": f"Image:{number}", "Name": entry.name})
        pixels = ET.SubElement(image, "Pixels", _pixels(number, entry))
        for channel, name in enumerate(entry.channel_names):
            ET.SubElement(
                pixels,
                "Channel",
                {"ID": f"Channel:{number}:{channel}", "Name": name, "SamplesPerPixel": "1"},
            )
        ET.SubElement(pixels, "MetadataOnly")
    return ET.tostring(root, encoding="unicode", xml_declaration=True)


def _pixels(number: int, entry: ImageEntry) -> dict[str, str]:
    sizes = dict(zip(entry.axes, entry.shape, strict=True))
    kind = _TYPES.get(entry.dtype.name, entry.dtype.name)
    attributes = {
        "ID": f"Pixels:{number}",
        "DimensionOrder": "XYZCT",
        "Type": kind if kind in _OME_TYPES else "double",
        **{f"Size{axis.upper()}": str(sizes.get(axis, 1)) for axis in "xyzct"},
    }
    for axis, size, unit in zip(entry.axes, entry.scale, entry.units, strict=True):
        if axis in "zyx" and unit in _UNITS:
            attributes[f"PhysicalSize{axis.upper()}"] = repr(float(size))
            attributes[f"PhysicalSize{axis.upper()}Unit"] = _UNITS[unit]
    return attributes
