"""The soak test's strokes: in the real viewer, so beside the viewer's other tests."""

from argparse import ArgumentParser

import pytest

from training.bench_soak import add_arguments, describe, run


@pytest.mark.viewer
@pytest.mark.timeout(300)
def test_every_stroke_is_found_on_disk(qapp):
    parser = ArgumentParser()
    add_arguments(parser)
    words = ("--rounds", "0", "--strokes", "55", "--turns", "2", "--idle", "1")
    result = run(parser.parse_args(words))
    strokes = result["strokes"]
    assert strokes["strokes"] == 55
    assert strokes["lost"] == 0
    assert strokes["idle"]["count"] > 20
    assert strokes["painting"]["count"] > 100
    assert strokes["without"]["count"] > 50
    assert strokes["ratio_p99"] > 0
    assert "not on disk afterwards: 0" in describe(result)
