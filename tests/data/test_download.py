"""Downloads: whole and verified, or not at all, and soon."""

import hashlib
import http.server
import socket
import threading
import time

import pytest

from safedeploy.data import download as download_module
from safedeploy.data.download import NoDownload, download

CONTENT = bytes(range(256)) * 4096
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server(tmp_path):
    """A web server on this machine; yields its address and its folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "data.bin").write_bytes(CONTENT)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=str(folder), **kwargs)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/"
        httpd.shutdown()


def test_a_file_arrives_whole_and_progress_ends_at_one(server, tmp_path):
    seen = []
    download([server + "data.bin"], MD5, tmp_path / "a" / "data.bin", seen.append)
    assert (tmp_path / "a" / "data.bin").read_bytes() == CONTENT
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_the_next_mirror_is_asked_where_one_fails(server, tmp_path):
    download(["http://127.0.0.1:1/data.bin", server + "missing", server + "data.bin"], MD5, tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("file", "md5", "reason"), [("data.bin", "0" * 32, "not the published file"), ("gone", MD5, "Error 404")]
)
def test_what_is_not_the_published_file_leaves_nothing(server, tmp_path, file, md5, reason):
    with pytest.raises(NoDownload, match=reason):
        download([server + file], md5, tmp_path / "a" / "b" / "data.bin")
    assert not (tmp_path / "a").exists()


def test_a_silent_server_is_given_up_soon(tmp_path, monkeypatch):
    monkeypatch.setattr(download_module, "ANSWER_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(NoDownload, match=r"127\.0\.0\.1"):
            download([f"http://127.0.0.1:{silent.getsockname()[1]}/x"], MD5, tmp_path / "x")
        assert time.monotonic() - start < 3


def test_a_folder_without_write_permission_is_left_alone_by_root_too(server, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    with pytest.raises(NoDownload, match="is read-only"):
        download([server + "data.bin"], MD5, locked / "MNIST" / "raw" / "data.bin")
    assert list(locked.iterdir()) == []
