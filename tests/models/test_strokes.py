import pytest
import torch

from napari_cas.models.strokes import REACH, follow_strokes

SIZE = 128


@pytest.fixture
def image():
    """Two areas of different colours, all of it said to be of channel 0."""
    guide = torch.full((3, SIZE, SIZE), 0.2)
    guide[:, :, 66:] = torch.tensor([0.7, 0.5, 0.6])[:, None, None]
    said = torch.full((3, SIZE, SIZE), 0.05)
    said[0] = 0.9
    return guide, said


def stroke(rows, columns, channel, strokes=None):
    strokes = torch.zeros(SIZE, SIZE, dtype=torch.int64) if strokes is None else strokes.clone()
    strokes[rows, columns] = channel + 1
    return strokes


def test_what_is_painted_is_so_and_what_looks_alike_beside_it(image):
    guide, said = image
    followed = follow_strokes(said, guide, stroke(slice(40, 60), slice(70, 74), 1)).argmax(0)
    assert (followed[40:60, 68:80] == 1).all()
    assert (followed[:, :66] == 0).all()  # other colours
    assert (followed[110:] == 0).all()  # far away


def test_what_agrees_changes_nothing(image):
    guide, said = image
    assert follow_strokes(said, guide, stroke(slice(40, 60), slice(70, 74), 0)) is said
    nothing = torch.zeros(SIZE, SIZE, dtype=torch.int64)
    assert follow_strokes(said, guide, nothing) is said


def test_strokes_that_agree_hold_what_is_around_them(image):
    guide, said = image
    wrong = stroke(slice(40, 60), slice(70, 74), 1)
    held = stroke(slice(40, 60), slice(84, 88), 0, wrong)
    alone, beside = (follow_strokes(said, guide, s)[1, 40:60, 80:92].mean() for s in (wrong, held))
    assert beside < 0.7 * alone


def test_they_stay_probabilities_and_what_was_given_stays(image):
    guide, said = image
    before = said.clone()
    strokes = stroke(slice(10, 30), slice(60, 72), 2, stroke(slice(50, 55), slice(30, 90), 1))
    followed = follow_strokes(said, guide, strokes)
    assert float(followed.min()) >= 0
    assert torch.allclose(followed.sum(0), torch.ones(SIZE, SIZE), atol=1e-5)
    assert torch.equal(said, before)


def test_nothing_reaches_further_than_stated():
    generator = torch.Generator().manual_seed(0)
    guide = torch.rand(3, 256, 256, generator=generator)
    said = torch.rand(2, 256, 256, generator=generator).softmax(0)
    strokes = torch.zeros(256, 256, dtype=torch.int64)
    strokes[:8, :8] = 1 + said[:, :8, :8].argmin(0)
    moved = (follow_strokes(said, guide, strokes) - said).abs().amax(0) > 1e-6
    rows, columns = moved.nonzero().T
    assert moved.any()
    assert max(int(rows.max()), int(columns.max())) < 8 + REACH


def test_strokes_far_from_each_other_do_not_meet():
    generator = torch.Generator().manual_seed(0)
    guide = torch.rand(1, 64, 512, generator=generator)
    said = torch.rand(2, 64, 512, generator=generator).softmax(0)
    left, right = (torch.zeros(64, 512, dtype=torch.int64) for _ in range(2))
    left[20:24, 8:30] = 1 + said[:, 20:24, 8:30].argmin(0)
    right[40:44, 480:500] = 1 + said[:, 40:44, 480:500].argmin(0)
    both = follow_strokes(said, guide, left + right)
    one, other = follow_strokes(said, guide, left), follow_strokes(said, guide, right)
    assert torch.allclose(both[..., :256], one[..., :256], atol=1e-5)
    assert torch.allclose(both[..., 256:], other[..., 256:], atol=1e-5)
