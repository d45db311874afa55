import pytest

from napari_cas.config import Config, PredictConfig
from napari_cas.errors import WorkerDiedError
from napari_cas.jobs import Outcome, PlaneWork, TileQueue
from napari_cas.protocol import Box, Tile, TilesRequest
from napari_cas.session.dispatch import DispatchQueue

WAIT = 60
CONFIG = Config(predict=PredictConfig(tile_size=256))


class Queue:
    """A queue of tiles whose callbacks are kept, driven in this thread."""

    def __init__(self, executor, project, planes, function="tiles_noted", **options):
        self.reports, self.progress, self.warnings, self.ends = [], [], [], []
        self.events = DispatchQueue()
        self.project = project
        self.tiles = TileQueue(
            executor,
            TilesRequest(str(project), CONFIG, "model", ()),
            planes,
            dispatch=self.events,
            on_report=self.reports.append,
            on_progress=lambda *p: self.progress.append(p),
            on_warning=self.warnings.append,
            on_finished=lambda *end: self.ends.append(end),
            function=f"work_functions:{function}",
            **options,
        )

    def run(self):
        assert self.events.run_until(lambda: bool(self.ends), WAIT)
        assert not self.tiles.running
        ((outcome, error),) = self.ends
        return outcome, error

    @property
    def order(self):
        """Tiles in the order in which the worker did them: (image, plane, y, x)."""
        path = self.project / "tiles.txt"
        return [tuple(line.split(" ")) for line in path.read_text().split("\n")[:-1]]


def test_every_pixel_is_covered_once_by_whole_chunks(executor, tmp_path):
    queue = Queue(executor, tmp_path, [PlaneWork("a", (), (600, 1000))])
    queue.tiles.start()
    assert queue.run() == (Outcome.DONE, None)
    done = [tile for report in queue.reports for tile in report.done]
    assert sum(h * w for h, w in (tile.box.shape for tile in done)) == 600 * 1000
    assert len(set(done)) == len(done) == 12
    assert all(tile.box.y0 % 256 == tile.box.x0 % 256 == 0 for tile in done)
    assert queue.progress[-1] == (12, 12)


def test_nearest_to_the_view_first_then_nearest_planes_then_other_images(executor, tmp_path):
    planes = [PlaneWork("b", (0,), (256, 256))]
    planes += [PlaneWork("a", (z,), (512, 512)) for z in range(3)]
    queue = Queue(executor, tmp_path, planes)
    queue.tiles.start(Tile("a", (2,), Box(400, 0, 500, 100)))
    queue.run()
    assert queue.order[0] == ("a", "(2,)".replace(" ", ""), "256", "0")
    assert [(image, plane) for image, plane, *_ in queue.order] == (
        [("a", "(2,)")] * 4 + [("a", "(1,)")] * 4 + [("a", "(0,)")] * 4 + [("b", "(0,)")]
    )
    assert queue.order[3][2:] == ("0", "256")


def test_looking_elsewhere_brings_that_place_next(executor, tmp_path):
    queue = Queue(executor, tmp_path, [PlaneWork("a", (z,), (1024, 256)) for z in range(6)])
    queue.tiles.start(Tile("a", (0,), Box(0, 0, 9, 9)))
    queue.events.run_until(lambda: bool(queue.reports), WAIT)
    queue.tiles.look_at(Tile("a", (5,), Box(1000, 0, 1024, 9)))
    queue.run()
    # At most the batches already sent come before the new place.
    assert ("a", "(5,)", "768", "0") in queue.order[:4]
    assert len(set(queue.order)) == 24


def test_a_part_of_a_plane_is_the_whole_tiles_that_it_touches(executor, tmp_path):
    part = Box(300, 500, 520, 700)
    queue = Queue(executor, tmp_path, [PlaneWork("a", (), (600, 1000), part)])
    queue.tiles.start()
    queue.run()
    assert sorted((int(y), int(x)) for *_, y, x in queue.order) == [
        (256, 256),
        (256, 512),
        (512, 256),
        (512, 512),
    ]
    assert queue.progress[-1] == (4, 4)


def test_taking_other_work_leaves_what_was_not_sent(executor, tmp_path):
    queue = Queue(executor, tmp_path, [PlaneWork("a", (), (2048, 2048))])
    queue.tiles.start()
    queue.events.run_until(lambda: bool(queue.reports), WAIT)
    queue.tiles.take([PlaneWork("b", (), (512, 512))], None)
    queue.run()
    images = [image for image, *_ in queue.order]
    assert images.count("b") == 4
    assert images.count("a") < 8
    assert images == sorted(images)
    assert queue.progress[-1] == (len(images), len(images))


def test_tiles_done_before_are_not_done_again(executor, tmp_path):
    known = {Tile("a", (), Box(0, 0, 256, 256)), Tile("a", (), Box(256, 0, 512, 256))}
    queue = Queue(
        executor, tmp_path, [PlaneWork("a", (), (512, 512))], done=lambda tile: tile in known
    )
    queue.tiles.start()
    queue.run()
    assert sorted(queue.order) == [("a", "()", "0", "256"), ("a", "()", "256", "256")]
    assert queue.progress[-1] == (4, 4)


def test_with_nothing_left_to_do_it_ends_at_once(executor, tmp_path):
    queue = Queue(executor, tmp_path, [PlaneWork("a", (), (512, 512))], done=lambda _: True)
    queue.tiles.start()
    assert queue.run() == (Outcome.DONE, None)
    assert not queue.reports


def test_cancelling_acts_within_a_batch(executor, tmp_path):
    queue = Queue(executor, tmp_path, [PlaneWork("a", (), (8192, 8192))])
    queue.tiles.start()
    queue.events.run_until(lambda: len(queue.reports) >= 2, WAIT)
    queue.tiles.cancel()
    assert queue.run() == (Outcome.CANCELLED, None)
    assert len(queue.order) < 64


def test_pausing_and_going_on(executor, tmp_path):
    queue = Queue(executor, tmp_path, [PlaneWork("a", (), (1024, 1024))])
    queue.tiles.start()
    queue.tiles.pause()
    assert not queue.events.run_until(lambda: len(queue.reports) > 1, 0.5)
    assert queue.tiles.running
    queue.tiles.resume()
    assert queue.run() == (Outcome.DONE, None)
    assert len(set(queue.order)) == 16


def test_cancelling_while_paused_ends(executor, tmp_path):
    queue = Queue(executor, tmp_path, [PlaneWork("a", (), (1024, 1024))])
    queue.tiles.start()
    queue.tiles.pause()
    queue.events.run_until(lambda: bool(queue.reports), WAIT)
    queue.tiles.cancel()
    assert queue.run() == (Outcome.CANCELLED, None)


def test_a_batch_that_always_kills_its_worker_is_an_error(executor, tmp_path):
    queue = Queue(executor, tmp_path, [PlaneWork("a", (), (256, 256))], function="die")
    queue.tiles.start()
    outcome, error = queue.run()
    assert outcome is Outcome.FAILED
    assert isinstance(error, WorkerDiedError)
    assert len(queue.warnings) == 2


@pytest.mark.parametrize("side", [128, 320])
def test_tiles_never_share_a_chunk(executor, tmp_path, side):
    queue = Queue(executor, tmp_path, [PlaneWork("a", (), (700, 700))])
    queue.tiles = TileQueue(
        executor,
        TilesRequest(str(tmp_path), Config(predict=PredictConfig(tile_size=side)), "model", ()),
        [PlaneWork("a", (), (700, 700))],
        dispatch=queue.events,
        on_report=queue.reports.append,
        on_progress=lambda *_: None,
        on_warning=queue.warnings.append,
        on_finished=lambda *end: queue.ends.append(end),
        function="work_functions:tiles_noted",
    )
    queue.tiles.start()
    queue.run()
    assert all(int(y) % 256 == int(x) % 256 == 0 for *_, y, x in queue.order)
