"""The one line that says what to do next: a pure function of what is on the screen."""

from __future__ import annotations

from dataclasses import dataclass

RUN_KEY = "Ctrl+Enter"
FLAT = "Painting goes plane by plane: go back to the 2-D view of y and x."
NOTHING = f"Nothing is predicted yet: paint two regions and press {RUN_KEY}."
_CORRECT = "Point at a place of the right kind, press K, paint"
PICK = (
    "Point at a predicted segment and press A; or select the prediction layer, pick a label there, "
    "and press the button."
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the guide needs to know.

    Attributes
    ----------
    image_layers, chosen : int
        Image layers in the viewer, and those among them that are selected.
    readings : int
        What the dimensions of the first of these may mean: so many readings.
    project : bool
        Whether a project is open.
    writable : bool
        Whether it may be written.
    adding : bool
        Whether images are being copied into the project.
    regions : int
        Painted regions on the plane shown; 2 stands for two or more.
    filled : bool
        Whether one region takes the whole plane shown.
    trained : bool
        Whether there is a fine-tuned model.
    busy : bool
        Whether training is under way.
    warming : bool
        Whether the worker is starting.
    live : bool
        Whether live mode is on.
    regions_layer : bool
        Whether the layer to paint in exists.
    prediction_layer : bool
        Whether the layer of the prediction exists.
    image_layer : bool
        Whether a layer shows the image that is painted.
    covered : bool
        Whether an image that was opened since lies over the one that is painted.
    buried : bool
        Whether the image lies over its strokes.
    brush : bool
        Whether dragging the mouse would paint.
    flat : bool
        Whether y and x are on the screen and nothing else, as painting needs it.
    cut : bool
        Whether more of a huge plane is looked at than can be painted on.
    last : bool
        Whether no image of the project comes after the one shown.
    """

    image_layers: int = 0
    chosen: int = 0
    readings: int = 1
    project: bool = False
    writable: bool = True
    adding: bool = False
    regions: int = 0
    filled: bool = False
    trained: bool = False
    busy: bool = False
    warming: bool = False
    live: bool = False
    regions_layer: bool = True
    prediction_layer: bool = True
    image_layer: bool = True
    covered: bool = False
    buried: bool = False
    brush: bool = True
    flat: bool = True
    cut: bool = False
    last: bool = False


def next_step(facts: Facts) -> str:
    """Return one sentence: what the annotator does next.

    Parameters
    ----------
    facts : Facts
        What is on the screen.
    """
    if not facts.project:
        return _before_project(facts)
    if not facts.writable:
        return "This project is open for reading only: look around, or export it."
    if not facts.regions_layer:
        return "The regions layer was removed: press N to bring it back and paint."
    if not facts.image_layer:
        return "The image's layer was removed: press N to bring it back."
    if facts.covered:
        return "Another image lies on top: Add takes it into the project, N hides it to paint on."
    if facts.buried:
        return "The image lies over the regions: press N to bring them up."
    if not facts.flat:
        return FLAT
    if facts.cut:
        return "Zoom in to paint: of an image this large, strokes show only inside the frame."
    if facts.filled:
        return "One region fills the whole plane: undo it (Ctrl+Z), or paint another one into it."
    if facts.busy and not facts.live:
        return "Learning from your strokes. Keep painting if you like; Cancel stops it."
    if facts.regions == 0 and not facts.trained:
        if not facts.brush:
            return "Press N for the brush, and paint a stroke on something."
        return "Paint a stroke on something: drag with the left mouse button."
    if facts.trained and not facts.prediction_layer:
        return "The prediction layer was removed: Predict all brings it back."
    if facts.regions == 0:
        on = "." if facts.last else ", or go on (Page Down)."
        return f"Predicted. {_CORRECT} over what is wrong{on}"
    if facts.regions == 1 and not facts.trained:
        return "Press N and paint something that looks different."
    if facts.live:
        return "Live: every stroke retrains. Press N before painting something different."
    if not facts.trained:
        return f"Press Fine-tune and predict ({RUN_KEY}), or N for another region."
    return f"Wrong somewhere? {_CORRECT} over it. {RUN_KEY} teaches it."


def copying(done: int, total: int) -> str:
    """Return how far the images are that a new project is made of, in blocks of pixels."""
    return f"Copying the image into the project: {100 * done // max(total, 1)} %"


def _before_project(facts: Facts) -> str:
    if facts.adding:
        return "Copying the image into the project…"
    if facts.image_layers == 0:
        return "Open an image: drop a file on the window, or try a sample below."
    if facts.chosen == 0:
        return "Select the image layer you want to annotate in the layer list."
    if facts.readings > 1:
        return "Check the axes below, then press Start annotating."
    if facts.chosen < facts.image_layers:
        return "Press Start annotating, or select more images in the layer list to take them too."
    return "Press Start annotating."


def wants_run(facts: Facts) -> bool:
    """Return whether the primary button deserves to stand out: there is something to learn from."""
    return facts.project and facts.writable and not facts.busy and facts.regions >= 2
