import numpy as np
import pytest

from napari_cas.engine.corrected import Corrected
from napari_cas.engine.painting import ACCEPTED, PaintedTile
from napari_cas.engine.sources import ArraySource
from napari_cas.protocol import Box

SIZE = (40, 60)
FIRST, SECOND = ("first", ()), ("second", ())
USED = np.array([True, True, True, False])


class Shown(ArraySource):
    """An image of which a prediction was shown."""

    def __init__(self, *given, labels, **options):
        super().__init__(*given, **options)
        self.labels = labels

    def shown(self, plane, box):
        return self.labels[box.slices]


def halves(left=0, right=1, sure=0.99, channels=4):
    """Return probabilities that say one channel on the left, another on the right."""
    soft = np.full((channels, *SIZE), (1 - sure) / (channels - 1), np.float32)
    soft[left, :, :30], soft[right, :, 30:] = sure, sure
    return soft


def tile(name="second", regions=None, corrections=None, labels=None):
    if regions is None:
        regions = np.zeros(SIZE, np.int64)
        regions[5:9, 2:20] = 7
    image = np.zeros((1, *SIZE), np.float32)
    if labels is None:
        source = ArraySource(name, image, regions, corrections=corrections)
    else:
        source = Shown(name, image, regions, labels=labels)
    return PaintedTile(source, (), Box(0, 0, *SIZE), regions)


def corrected(*tiles, soft=None):
    """Return what is known of tiles that are painted after a first image was."""
    known = Corrected()
    known.look([tile("first")], None, 0)
    known.look([tile("first"), *tiles], lambda _: halves() if soft is None else soft, 0)
    return known


def two(third=None):
    """Return two regions, so that none is alone, or more."""
    regions = np.zeros(SIZE, np.int64)
    regions[5:9, 2:20], regions[5:9, 40:50] = 7, 8
    if third is not None:
        regions[20:24, 2:20] = third
    return regions


def longer():
    """Return the region of a tile with a stroke more."""
    regions = np.zeros(SIZE, np.int64)
    regions[5:9, 2:20], regions[15:18, 2:20] = 7, 7
    return regions


def accepted_in(tile):
    return {
        int(i): int((tile.regions == i).sum()) for i in np.unique(tile.regions) if i >= ACCEPTED
    }


def test_what_is_painted_before_anything_is_learnt_is_not_corrected():
    known = corrected(tile())
    assert FIRST not in known
    assert SECOND in known
    first, second = known.join([tile("first"), tile()])
    assert accepted_in(first) == {}
    assert accepted_in(second) == {ACCEPTED: 256, ACCEPTED + 1: 256}
    assert known.accepted == {0, 1}


def test_accepted_is_what_the_network_was_sure_of_and_nobody_painted():
    soft = halves()
    soft[:, 20:] = 0.25
    given = tile(regions=two())
    (joined,) = corrected(given, soft=soft).join([given])
    new = joined.regions >= ACCEPTED
    assert not new[20:].any()
    assert np.array_equal(joined.regions[given.regions > 0], given.regions[given.regions > 0])
    assert (joined.regions[:, :30][new[:, :30]] == ACCEPTED).all()
    assert (joined.regions[:, 30:][new[:, 30:]] == ACCEPTED + 1).all()


def test_only_what_could_be_seen_is_accepted():
    unseen = tile(labels=np.zeros(SIZE, np.uint8))
    assert SECOND not in corrected(unseen)
    shown = np.ones(SIZE, np.uint8)
    shown[:, 30:] = 3  # the network says 2 by now
    assert accepted_in(corrected(seen := tile(labels=shown)).join([seen])[0]) == {ACCEPTED: 256}


def test_a_stroke_wins_over_what_was_accepted_before():
    known = corrected(tile())
    more = tile(regions=np.where(np.arange(SIZE[1]) < 30, 7, 8) * np.ones(SIZE, np.int64))
    assert accepted_in(known.join([more])[0]) == {}


def moved():
    """Return region 7 erased on the left and painted on the right, region 8 as it was."""
    regions = two()
    regions[regions == 7] = 0
    regions[20:24, 40:58] = 7
    return regions


def test_an_id_of_which_all_was_erased_may_be_painted_as_something_else():
    known = Corrected()
    known.look([tile(regions=two())], None, 0)
    known.note(SECOND, {7: 0, 8: 1})
    given = tile(regions=moved())
    assert known.learnt(given.source, (), given.box) == {8: 1}  # at once, before it is looked at
    known.look([given], lambda _: halves(), 0)
    assert known.channels(SECOND, [7, 8]) == [-1, 1]
    more = moved()
    more[5:9, 2:20] = 7  # the old place again, beside the new one
    known.look([tile(regions=more)], lambda _: halves(), 0)
    known.guess(SECOND, [[7], [8]], said(1, 1), USED)
    assert known.channels(SECOND, [7, 8]) == [0, 1]


def test_most_of_a_stroke_is_still_that_stroke():
    known = Corrected()
    known.look([tile(regions=two())], None, 0)
    known.note(SECOND, {7: 0, 8: 1})
    less = two()
    less[5:7, 2:20] = 0
    known.look([tile(regions=less)], lambda _: halves(), 0)
    assert known.channels(SECOND, [7, 8]) == [0, 1]


def test_of_another_image_under_that_name_nothing_is_known():
    known = corrected(tile(regions=two()))
    other = np.zeros(SIZE, np.int64)
    other[30:34, 2:20], other[30:34, 40:50] = 7, 8
    unseen = tile(regions=other, labels=np.zeros(SIZE, np.uint8))
    known.look([tile("first"), unseen], lambda _: halves(), 0)
    assert SECOND not in known
    assert known.channels(SECOND, [7, 8]) == [-1, -1]
    assert accepted_in(known.join([unseen])[0]) == {}


def test_tiles_of_another_size_are_the_same_paint():
    known, whole = Corrected(), tile(regions=two())
    boxes = [Box(0, 0, 40, 30), Box(0, 30, 40, 60)]
    parts = [PaintedTile(whole.source, (), box, whole.regions[box.slices]) for box in boxes]
    known.look([whole], None, 0)
    known.look(parts, lambda _: pytest.fail("nothing has changed"), 0)
    assert SECOND not in known


def test_a_plane_whose_paint_is_gone_is_new_when_painted_again():
    known = corrected(tile())
    known.look([tile("first")], lambda _: halves(), 0)
    assert SECOND not in known
    known.look([tile("first"), tile()], lambda _: halves(2, 3), 0)
    assert known.accepted == {2, 3}


def test_a_plane_whose_paint_has_changed_since_it_was_predicted_is_corrected_too():
    known = corrected(tile())
    known.note(FIRST, {7: 1})
    known.look([tile("first"), tile()], lambda _: halves(2, 3), 0)
    assert FIRST not in known
    assert known.accepted == {0, 1}  # nor was the second looked at again
    known.look([tile("first", longer()), tile()], lambda _: halves(2, 3), 0)
    assert known.channels(FIRST, [7, 8]) == [1, -1]
    assert known.accepted == {0, 1, 2, 3}


def test_a_region_that_is_begun_beside_earlier_strokes_is_told_once():
    known = corrected(tile(regions=two()))
    known.note(FIRST, {7: 0})
    known.look([tile("first", longer()), tile(regions=two(9))], lambda _: halves(), 0)
    begun = longer()
    begun[20:24, 40:50] = 9
    known.look([tile("first", begun), tile(regions=two(9))], lambda _: halves(), 0)
    assert known.take_begun(SECOND) == set()  # all was predicted before anything was painted
    assert known.take_begun(FIRST) == {9}
    assert known.take_begun(FIRST) == set()
    said = np.where(begun == 9, 2, 0).astype(np.uint8)
    known.look([tile("first", longer())], lambda _: halves(), 0)
    known.look([tile("first", begun, said)], lambda _: halves(), 0)
    assert known.take_begun(FIRST) == set()  # its kind is said


def test_what_is_dropped_is_never_accepted_again():
    known = corrected(given := tile(regions=two()))
    accepted = np.argwhere(known.join([given])[0].regions == ACCEPTED)
    known.drop(SECOND, accepted[:250])
    known.object(SECOND, accepted[250:254])
    assert accepted_in(known.join([given])[0])[ACCEPTED] == 2
    known.accept_again()
    assert accepted_in(known.join([given])[0])[ACCEPTED] == 6


def test_kinds_of_which_all_strokes_are_gone_are_forgotten():
    known = corrected(given := tile(regions=two()))
    known.note(FIRST, {7: 2})
    known.guess(SECOND, [[7], [8]], said(0, 1), USED)
    known.look([tile("first"), tile()], lambda _: halves(), 0)  # region 8 is gone
    assert known.accepted == {0}
    known.look([tile("first"), given], lambda _: halves(), 0)
    known.guess(SECOND, [[7], [8]], said(0, 1), USED)
    known.look([tile("first")], lambda _: halves(), 0)
    assert known.accepted == set()


def test_a_region_alone_does_not_count_until_there_is_another_or_its_kind_is_said():
    known = corrected(given := tile())
    assert known.alone([tile("first"), given]) == [("second", (), 7)]
    assert not (known.join([given])[0].regions == 7).any()
    assert known.alone([tile(regions=two())]) == []
    corrections = np.where(given.regions, 4, 0).astype(np.uint8)
    known.hear([told := tile(corrections=corrections)], 4)
    assert known.alone([told]) == []
    assert (known.join([told])[0].regions == 7).sum() == (given.regions == 7).sum()
    unsure = corrected(given, soft=halves(sure=0.5))
    assert [t.source.name for t in unsure.join([tile("first"), given])] == ["first"]


def test_what_is_objected_to_does_not_count_until_all_is_accepted_again():
    known = corrected(given := tile())
    (joined,) = known.join([given])
    at = np.argwhere(joined.regions == ACCEPTED)[:60]
    known.object(SECOND, at)
    assert accepted_in(known.join([joined])[0]) == {ACCEPTED: 196, ACCEPTED + 1: 256}
    known.accept_again()
    assert accepted_in(known.join([given])[0]) == {ACCEPTED: 256, ACCEPTED + 1: 256}


def test_what_is_painted_on_the_prediction_says_its_kind():
    corrections = np.zeros(SIZE, np.uint8)
    corrections[5:9, 2:20] = 4
    corrections[5, 2] = 2
    known = corrected(told := tile(corrections=corrections))
    assert known.hear([tile("first", corrections=corrections), told], 4)
    assert known.channels(SECOND, [7, 8, ACCEPTED + 1]) == [3, -1, 1]
    assert known.channels(FIRST, [7]) == [-1]
    assert not known.hear([told], 4)  # nothing new
    other = tile(corrections=np.where(corrections, 3, 0).astype(np.uint8))
    assert known.hear([other], 4)
    beyond = tile(corrections=np.where(corrections, 5, 0).astype(np.uint8))
    assert not known.hear([beyond], 4)
    assert known.channels(SECOND, [7]) == [2]
    known.guess(SECOND, [[7]], halves()[:, :1, 0].T.astype(float), USED)
    assert known.channels(SECOND, [7]) == [2]  # what was said is not guessed


def said(*best, channels=4):
    """Return probabilities (R, M) of regions that look like these channels."""
    soft = np.full((len(best), channels), 0.01)
    soft[np.arange(len(best)), best] = 0.97
    return soft


def guessed(groups, soft, used=USED):
    known = corrected(tile())
    known.guess(SECOND, groups, soft, used)
    return known.channels(SECOND, [i for ids in groups for i in ids])


def test_kinds_are_guessed_by_looks_one_for_each_region():
    assert guessed([[7], [8]], said(2, 0)) == [2, 0]
    soft = said(2, 2)
    soft[1, 0] = 0.1
    assert guessed([[7], [8]], soft) == [2, 0]
    assert guessed([[7, 9], [8]], said(1, 0)) == [1, 1, 0]  # taken as one


def test_a_kind_that_nothing_has_yet_is_taken_only_where_it_must_be():
    soft = said(3, 0)
    assert guessed([[7], [8]], soft)[0] in (1, 2)
    assert sorted(guessed([[1], [2], [3], [4]], said(0, 0, 0, 0))) == [0, 1, 2, 3]
    many = guessed([[i] for i in range(1, 7)], said(*[0] * 6))
    assert set(many) == {0, 1, 2, 3}
    assert many.count(0) == 3  # more regions than channels: like what they look like


def test_a_segment_that_was_accepted_with_a_click_is_what_was_said_of_it():
    soft = halves()
    soft[[0, 2], 20:30, :12] = soft[[2, 0], 20:30, :12]
    regions = np.zeros(SIZE, np.int64)
    regions[20:30, :12] = 7
    known = corrected(tile(regions=regions), soft=soft)
    assert known.channels(SECOND, [7]) == [2]
    regions[22, 12:15] = 7  # by hand
    known = corrected(tile(regions=regions), soft=soft)
    assert known.channels(SECOND, [7]) == [-1]
    known = corrected(tile(regions=np.full(SIZE, 7, np.int64)), soft=halves(1, 1))
    assert known.channels(SECOND, [7]) == [1]


def test_guesses_stay():
    known = corrected(tile())
    known.guess(SECOND, [[7], [8]], said(2, 0), USED)
    known.guess(SECOND, [[7], [8], [9]], said(0, 2, 1), USED)
    assert known.channels(SECOND, [7, 8, 9]) == [2, 0, 1]


def test_it_is_restored_as_it_was_saved():
    known = corrected(given := tile())
    known.guess(SECOND, [[7]], said(0), USED)
    known.object(SECOND, np.argwhere(known.join([given])[0].regions == ACCEPTED)[:50])
    tensors, planes = known.saved()
    again = Corrected.restored(tensors, planes)
    assert again.channels(SECOND, [7]) == known.channels(SECOND, [7])
    assert np.array_equal(again.join([given])[0].regions, known.join([given])[0].regions)
    again.look([tile("first"), given], lambda _: pytest.fail("both are known"), 0)
    assert FIRST not in again
    assert SECOND in again


def test_of_a_model_by_an_earlier_version_nothing_painted_is_taken_for_corrected():
    again = Corrected.restored({}, None)
    again.look([tile("first")], lambda _: pytest.fail("it was painted first"), 0)
    assert FIRST not in again
    again.look([tile("first"), tile()], lambda _: halves(), 0)
    assert SECOND in again
