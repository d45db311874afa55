"""The guide always says exactly one thing, and the right one."""

from __future__ import annotations

import itertools

import pytest

from napari_cas.ui.guide import Facts, copying, next_step, wants_run

CASES = [
    (Facts(), "Open an image"),
    (Facts(image_layers=2), "Select the image layer"),
    (Facts(image_layers=2, chosen=2), "Press Start annotating."),
    (Facts(image_layers=2, chosen=1), "select more images"),
    (Facts(image_layers=2, chosen=1, readings=3), "Check the axes"),
    (Facts(image_layers=1, chosen=1, adding=True), "Copying"),
    (Facts(project=True), "Paint a stroke"),
    (Facts(project=True, brush=False), "Press N for the brush"),
    (Facts(project=True, regions=1), "Press N and paint something that looks different"),
    (Facts(project=True, regions=2), "Fine-tune and predict"),
    (Facts(project=True, regions=2, busy=True), "Learning from your strokes"),
    (Facts(project=True, regions=2, trained=True), "Wrong somewhere"),
    (Facts(project=True, regions=0, trained=True), "go on (Page Down)"),
    (Facts(project=True, regions=0, trained=True, last=True), "paint over what is wrong."),
    (Facts(project=True, regions=2, live=True, busy=True), "Live"),
    (Facts(project=True, regions=2, writable=False), "reading only"),
    (Facts(project=True, regions_layer=False), "was removed"),
    (Facts(project=True, image_layer=False), "image's layer was removed"),
    (Facts(project=True, regions=2, covered=True), "Add takes it into the project"),
    (Facts(project=True, trained=True, prediction_layer=False), "Predict all brings it back"),
    (Facts(project=True, prediction_layer=False), "Paint a stroke"),
    (Facts(project=True, regions=1, filled=True), "undo it (Ctrl+Z)"),
    (Facts(project=True, flat=False), "2-D view"),
    (Facts(project=True, buried=True), "lies over the regions"),
]


@pytest.mark.parametrize(("facts", "says"), CASES)
def test_next_step(facts, says):
    assert says in next_step(facts)


def test_every_situation_has_one_short_sentence_or_two():
    fields = ("project", "writable", "adding", "trained", "busy", "live", "regions_layer")
    for flags in itertools.product((False, True), repeat=len(fields)):
        for layers, chosen, regions in itertools.product((0, 2), (0, 1), (0, 1, 2)):
            facts = Facts(
                image_layers=layers,
                chosen=chosen,
                regions=regions,
                **dict(zip(fields, flags, strict=True)),
            )
            text = next_step(facts)
            assert 10 < len(text) <= 110
            assert text[-1] in ".…"


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        (Facts(project=True, regions=2), True),
        (Facts(project=True, regions=1), False),
        (Facts(project=True, regions=2, busy=True), False),
        (Facts(project=True, regions=2, writable=False), False),
        (Facts(regions=2), False),
    ],
)
def test_the_button_calls_only_when_there_is_something_to_learn(facts, wanted):
    assert wants_run(facts) is wanted


def test_where_no_stroke_would_show_the_guide_says_zoom_in():
    assert "Zoom in" in next_step(Facts(project=True, cut=True, regions=2))


def test_copying_says_how_far_it_is():
    assert copying(12, 483) == "Copying the image into the project: 2 %"
    assert copying(0, 0).endswith(" 0 %")
