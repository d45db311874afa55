"""Images by URL, from real servers: opened, referred to and copied; projects must be local."""

from __future__ import annotations

import functools
import http.server
import os
import sys
import threading

import numpy as np
import pytest
import zarr

from napari_cas.errors import ImageError, ProjectError
from napari_cas.protocol import Box
from napari_cas.store import Project
from napari_cas.store.readers import read_image

ALL = Box(0, 0, 70, 80)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path):
    """A folder, and the URL under which a server of its own offers it."""
    pytest.importorskip("aiohttp", reason="fsspec reads http through aiohttp")
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def object_store():
    """Variables that lead S3 clients to an empty server on this machine."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    server.stop()


def write(path, data, version, write_v04):
    """Write an image as OME-Zarr 0.4 (Zarr 2), 0.5 (Zarr 3) or a plain array."""
    if version == "0.4":
        write_v04(path, data, "cyx", scale=[1, 0.5, 0.25])
    elif version == "0.5":
        with Project.create(path.parent / "made.zarr") as project:
            project.add_image("a", data, "cyx", scale=[1, 0.5, 0.25])
        (path.parent / "made.zarr" / "images" / "a").rename(path)
    else:
        options = {"dimension_names": ["c", "y", "x"]} if version == "3" else {}
        zarr.create_array(
            str(path), data=data, chunks=(1, 32, 32), zarr_format=int(version), **options
        )


@pytest.mark.parametrize(
    ("version", "dtype"),
    [("0.4", "float64"), ("0.5", "float64"), ("0.5", "uint8"), ("2", "int16"), ("3", "float32")],
)
def test_images_of_all_versions_come_over_http(served, tmp_path, rng, write_v04, version, dtype):
    folder, url = served
    data = (rng.random((3, 70, 80)) * 255).astype(dtype)
    stored = data.astype("float32") if version == "0.5" and dtype == "float64" else data
    write(folder / "image.zarr", data, version, write_v04)
    image = read_image(f"{url}/image.zarr")
    plain = version in "23"
    # A plain array of Zarr 2 has no names for its axes: three dimensions are taken for a stack.
    assert image.axes == ("zyx" if version == "2" else "cyx")
    assert image.source == (None if plain else f"{url}/image.zarr")
    np.testing.assert_array_equal(image.data[:], stored)
    with Project.create(tmp_path / "p.zarr") as project:
        copied = project.add_image("copied", image.data, "cyx", scale=image.scale)
        truth = stored.astype(copied.dtype)
        np.testing.assert_array_equal(copied.read((), ALL), truth)
        if not plain:
            referred = project.add_reference("referred", image.source)
            assert referred.scale == image.scale == (1, 0.5, 0.25)
            np.testing.assert_array_equal(referred.read((), ALL), stored)
    if not plain:
        with Project.open(tmp_path / "p.zarr", mode="worker") as project:
            np.testing.assert_array_equal(project.image("referred").read((), ALL), stored)


# In a process of its own: s3fs leaves connections open, which warns when they are collected.
FROM_S3 = """
    import sys
    import numpy as np
    import s3fs
    from napari_cas.protocol import Box
    from napari_cas.store import Project
    from napari_cas.store.readers import read_image

    folder, version = sys.argv[1:]
    files, name = s3fs.S3FileSystem(), f"pictures{version}"
    files.mkdir(name)
    files.put(f"{folder}/image.zarr", f"{name}/image.zarr", recursive=True)
    stored = files.find(name)
    image = read_image(f"s3://{name}/image.zarr")
    truth = np.load(f"{folder}/truth.npy")
    np.testing.assert_array_equal(image.data[:], truth)
    with Project.create(f"{folder}/p.zarr") as project:
        entry = project.add_reference("far", image.source)
        np.testing.assert_array_equal(entry.read((), Box(0, 0, 70, 80)), truth)
        entry.regions[5:9, 5:9] = 1  # what is painted is kept here
        project.flush()
    files.invalidate_cache()
    assert files.find(name) == stored
    print("read", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_images_come_from_an_object_store(
    object_store, run_script, tmp_path, rng, write_v04, version
):
    data = rng.integers(0, 60_000, (3, 70, 80)).astype(np.uint16)
    write(tmp_path / "image.zarr", data, version, write_v04)
    np.save(tmp_path / "truth.npy", data)
    process = run_script(FROM_S3, tmp_path, version, env={**os.environ, **object_store})
    assert process.stdout.read() == "read\n"
    assert process.wait(60) == 0


def test_a_local_file_may_be_a_url(tmp_path, rng, write_v04):
    data = rng.integers(0, 255, (2, 70, 80)).astype(np.uint8)
    path = write_v04(tmp_path / "image.zarr", data, "cyx")
    np.testing.assert_array_equal(read_image(path.as_uri()).data[:], data)


@pytest.mark.parametrize("protocol", ["http", "nosuchprotocol"])
def test_what_cannot_be_reached_is_said(served, protocol):
    address = f"{served[1]}/nothing.zarr" if protocol == "http" else f"{protocol}://x/nothing.zarr"
    with pytest.raises(ImageError, match="cannot be opened"):
        read_image(address)


def test_a_missing_library_is_named_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ImageError, match=r"gcsfs") as caught:
        read_image("gs://bucket/image.zarr")
    assert 'pip install "napari-cas[remote]"' in caught.value.todo


@pytest.mark.parametrize("open_it", [Project.create, Project.open])
@pytest.mark.parametrize("url", ["s3://bucket/p.zarr", "https://host/p.zarr", "memory://p.zarr"])
def test_a_project_by_url_is_refused_and_nothing_is_made(tmp_path, monkeypatch, open_it, url):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProjectError, match=r"path.*shared folder"):
        open_it(url)
    assert list(tmp_path.iterdir()) == []
