import os

import numpy as np
import pytest
import zarr

from napari_cas.store.readers import read_image
from napari_cas.store.regular import RegularFiles, store_at


@pytest.fixture
def folder(tmp_path):
    array = zarr.create_array(tmp_path / "a.zarr", shape=(64, 64), chunks=(32, 32), dtype="u1")
    array[:, :32] = np.arange(64)[:, None]
    return tmp_path / "a.zarr"


def test_what_is_there_is_read_and_what_is_not_is_empty(folder):
    array = zarr.open_array(store_at(str(folder)), mode="r")
    assert np.array_equal(array[:, 0], np.arange(64))
    assert not array[:, 32:].any()


@pytest.mark.skipif(os.name == "nt", reason="named pipes are POSIX")
def test_a_pipe_in_the_place_of_a_chunk_is_not_waited_for(folder):
    (folder / "c" / "0" / "0").unlink()
    os.mkfifo(folder / "c" / "0" / "0")
    loaded = read_image(folder)
    with pytest.raises(OSError, match="Not a regular file"):
        np.asarray(loaded.data[:5, :5])
    assert np.array_equal(loaded.data[32:, 0], np.arange(32, 64))
    with pytest.raises(OSError, match="Not a regular file"):
        RegularFiles(folder).get_sync("c/0/0")


def test_urls_are_left_to_zarr():
    assert store_at("https://host/a.zarr") == "https://host/a.zarr"
