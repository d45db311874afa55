"""The paper's figures, as far as they are at hand, to stand beside ours.

Source: A. Sharma, N. Khan, M. Mubashar, G. Sundaramoorthi, P. Torr, "Class-agnostic segmentation
loss and its application to salient object detection and segmentation", ICCV Workshops 2021
(arXiv:2010.14793), and for gPb-owt-ucm P. Arbelaez et al., "Contour detection and hierarchical
image segmentation", TPAMI 2011. Cells not listed here are left empty in our tables, never guessed.
"""

from __future__ import annotations

from typing import NamedTuple


class Saliency(NamedTuple):
    """A published row: F-measure and mean absolute error."""

    f: float
    mae: float


class Regions(NamedTuple):
    """A published row of region metrics at ODS; `contour` is the boundary F-measure."""

    covering: float
    rand: float
    variation: float
    contour: float | None = None


def cells(row: Regions) -> dict[str, float]:
    """Return the figures of a row that are at hand, by name."""
    return {name: figure for name, figure in row._asdict().items() if figure is not None}


LOW_FIDELITY: dict[str, Saliency] = {
    "DUTS-TE": Saliency(0.836, 0.077),
    "ECSSD": Saliency(0.837, 0.085),
}
"""Table 1, ResNet-CAS trained on MSRA-B with half of the images' ids exchanged."""

HIGH_FIDELITY: dict[str, Saliency] = {
    "DUTS-TE": Saliency(0.871, 0.071),
    "ECSSD": Saliency(0.888, 0.071),
}
"""Table 2, ResNet-CAS trained on DUTS-TR with right labels."""

BSDS500 = Regions(covering=0.38, rand=0.71, variation=1.98)
"""Table 4, CAS."""

BSDS500_ROWS: dict[str, Regions] = {
    "the paper's CAS": BSDS500,
    "gPb-owt-ucm, published": Regions(0.59, 0.83, 1.69, contour=0.73),
    "Felzenszwalb-Huttenlocher, published": Regions(0.52, 0.80, 2.21),
}
"""On the test split of BSDS500; but for the paper's from Arbelaez et al. 2011."""

RWTD = Regions(covering=0.87, rand=0.87, variation=0.50, contour=0.48)
"""Table 6, FCN-a-CAS."""

FLIPS = (0.02, 0.05, 0.1, 0.3, 0.5)
"""Table 3, shares of images whose ids are exchanged."""

ALPHAS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
"""Table 7, the weights α that are compared."""

SALIENCY_TESTS = ("MSRA-B", "DUTS-TE", "ECSSD", "PASCAL-S", "HKU-IS", "THUR15K", "DUT-OMRON")
"""The seven saliency sets of Tables 1 and 2."""
