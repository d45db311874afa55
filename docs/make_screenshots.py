"""Make the pictures of the documentation by driving the real program with mouse and keys.

``xvfb-run -a -s "-screen 0 1400x900x24" python docs/make_screenshots.py`` writes them to
``docs/images``. The strokes are those that ship with the sample.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path

import numpy as np
from scipy import ndimage

from napari_cas.jobs import LocalExecutor
from training.driving import Driver

IMAGES = Path(__file__).parent / "images"
SAMPLE = "coffee"
COLOURS = 255
TABLE = 300, 30
"""A place of the sample, (y, x), that shows the table."""
CORNER = (48, 18), (16, 80)
"""A stroke over what the first result takes for something else."""


def main() -> None:
    """Open, paint, fine-tune, correct; a picture after each."""
    import napari

    from napari_cas.ui.widget import AnnotationWidget

    IMAGES.mkdir(exist_ok=True)
    # Not niced: nobody paints while the pictures are made.
    with tempfile.TemporaryDirectory() as home, LocalExecutor(nice=0) as executor:
        os.environ["NAPARI_CAS_HOME"] = home
        viewer = napari.Viewer(show=True)
        viewer.window.resize(1280, 800)
        widget = AnnotationWidget(viewer, executor=executor)
        viewer.window.add_dock_widget(widget, area="right", name="Annotate regions (napari-cas)")
        driver = Driver(viewer)
        viewer.open_sample("napari-cas", SAMPLE)
        driver.process(0.3)
        viewer.reset_view()
        widget.panel.start.path.setText(f"~/napari-cas/{SAMPLE}.zarr")
        picture(driver, "first-window")
        widget.panel.start.path.setText(f"{home}/{SAMPLE}.zarr")
        driver.click(widget.panel.start.start)
        driver.wait(lambda: widget.session.worker is not None, 120)
        paint(driver)
        picture(driver, "strokes")
        driver.click(widget.panel.train.run)
        driver.wait(lambda: bool(widget.session.reports) and widget.session.idle, 300)
        picture(driver, "first-result")
        driver.hover(*TABLE)
        driver.key("K")
        driver.line(*CORNER)
        done = len(widget.session.reports)
        driver.wait(lambda: len(widget.session.reports) > done and widget.session.idle, 60)
        picture(driver, "correction")
        viewer.close()
        driver.process(0.5)


def paint(driver: Driver) -> None:
    """Paint the sample's strokes again, by hand: along each one's longer axis."""
    from napari_cas.samples import load_sample

    strokes = load_sample(SAMPLE).strokes
    for number, region in enumerate(int(r) for r in np.unique(strokes) if r):
        if number:
            driver.key("N")
        pieces, count = ndimage.label(strokes == region, np.ones((3, 3)))
        for piece in range(1, count + 1):
            driver.stroke(along(np.argwhere(pieces == piece)), pause=0.01)


def along(pixels: np.ndarray, steps: int = 12) -> list[tuple[float, float]]:
    """Return points through the middle of a stroke, (y, x), end to end.

    Parameters
    ----------
    pixels : ndarray of int, (P, 2)
        Rows and columns of its pixels.
    steps : int
        Number of points, at most.
    """
    centred = pixels - pixels.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    along_axis = centred @ directions[0]
    edges = np.linspace(along_axis.min(), along_axis.max(), steps + 1)
    parts = [
        pixels[(along_axis >= low) & (along_axis <= high)]
        for low, high in itertools.pairwise(edges)
    ]
    return [(float(y), float(x)) for y, x in (part.mean(0) for part in parts if len(part))]


def picture(driver: Driver, name: str) -> None:
    """Save the window with few colours, so that the file stays small."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/window.png"
        driver.process(0.5)
        driver.screenshot(path)
        with Image.open(path) as window:
            # Refined, for median cut alone mixes the few pixels of a stroke into the photograph.
            small = window.convert("RGB").quantize(COLOURS, kmeans=3, dither=Image.Dither.NONE)
    target = IMAGES / f"{name}.png"
    small.save(target, optimize=True)
    print(f"{target}: {target.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
