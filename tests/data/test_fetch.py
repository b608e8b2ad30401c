"""Mirrors fail in many ways; the file that is kept is the right one, or there is none."""

import hashlib
import http.server
import os
import socket
import sys
import threading
import time

import pytest

from minae.data import FetchError, fetch
from minae.data.fetch import is_intact

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Mirror(http.server.BaseHTTPRequestHandler):
    """Fails as the path says: ``/403``, ``/drip``, ``/good`` ..."""

    def do_GET(self):
        way = self.path.strip("/")
        self.server.asked.append(way)
        if way.isdigit():
            self.send_error(int(way))
        elif way == "silent":
            self.server.stop.wait(5)
        elif way == "letters":  # a header that never ends
            self.drip(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10**6)
        elif way == "drip":
            self.answer(length=len(CONTENT))
            self.drip(CONTENT)
        elif way == "loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.end_headers()
        elif way == "moved":
            self.send_response(301)
            self.send_header("Location", "/good")
            self.end_headers()
        elif way == "steady":
            self.answer(length=len(CONTENT))
            for i in range(0, len(CONTENT), 32000):
                self.wfile.write(CONTENT[i : i + 32000])
                self.server.stop.wait(0.1)
        elif way == "endless":
            self.answer(length=400 * len(CONTENT))
            for _ in range(400):
                self.wfile.write(CONTENT)
                self.server.sent += len(CONTENT)
        else:
            body = {
                "good": CONTENT,
                "other": CONTENT[::-1],
                "short": CONTENT[:-1],
                "long": CONTENT + b"x",
                "empty": b"",
                "html": b"\n<!DOCTYPE html><p>Sign in to the network",
            }.get(way, CONTENT[:5000])
            self.answer(len(CONTENT) if way == "hangs-up" else len(body))
            self.wfile.write(body)

    def answer(self, length):
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def drip(self, content):
        for i in range(len(content)):
            self.wfile.write(content[i : i + 1])
            if self.server.stop.wait(0.02):
                return

    def handle(self):
        try:
            super().handle()
        except OSError:  # the client went away
            self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(monkeypatch):
    """``mirror(way)``: the URL of a local mirror that fails in this way."""
    monkeypatch.setenv("no_proxy", "*")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.asked, server.sent, server.stop = [], 0, threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def url(way):
        return f"http://127.0.0.1:{server.server_port}/{way}"

    url.asked, url.sent = server.asked, lambda: server.sent
    yield url
    server.stop.set()
    server.shutdown()
    thread.join()
    server.server_close()  # waits for the answers under way


def get(urls, path, timeout=5.0):
    return fetch("the file", urls, SHA256, path, len(CONTENT), timeout)


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


def test_the_first_good_mirror_is_the_last_that_is_asked(mirror, tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    assert get([mirror("404"), mirror("good"), mirror("other")], path) == mirror("good")
    assert path.read_bytes() == CONTENT and os.listdir(path.parent) == ["file"]
    assert mirror.asked == ["404", "good"]


def test_a_mirror_may_move(mirror, tmp_path):
    get([mirror("moved")], tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


FAULTS = {
    "403": "HTTP 403 Forbidden",
    "404": "HTTP 404 Not Found",
    "503": "HTTP 503",
    "other": "SHA-256 is wrong",
    "short": "255999 bytes instead of 256000",
    "long": "more instead of 256000",
    "endless": "more instead of 256000",
    "empty": "0 bytes instead of 256000",
    "hangs-up": "bytes instead of 256000|IncompleteRead",
    "html": "a web page, not the file",
    "loop": "HTTP 302",
}


@pytest.mark.parametrize("way", FAULTS)
def test_after_a_faulty_mirror_the_next_is_tried(mirror, tmp_path, way):
    with pytest.raises(FetchError, match=FAULTS[way]):
        get([mirror(way)], tmp_path / "file")
    assert os.listdir(tmp_path) == []
    assert get([mirror(way), mirror("good")], tmp_path / "file") == mirror("good")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_no_more_is_read_than_the_file_may_have(mirror, tmp_path):
    with pytest.raises(FetchError, match="more instead of"):
        get([mirror("endless")], tmp_path / "file")
    time.sleep(0.1)
    assert mirror.sent() < 2e7  # of 102 MB: what the buffers between the two hold


@pytest.mark.parametrize("way", ["silent", "letters"])
def test_silence_and_endless_headers_are_given_up(mirror, tmp_path, way):
    began = time.monotonic()
    get([mirror(way), mirror("good")], tmp_path / "file", timeout=0.3)
    assert 0.3 <= time.monotonic() - began < 4
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_slow_mirror_has_time_by_the_size_of_the_file(mirror, tmp_path):
    assert get([mirror("steady")], tmp_path / "file", timeout=0.5) == mirror("steady")  # 0.8 s


def test_a_body_that_drips_is_given_up(mirror, tmp_path, monkeypatch):
    module = sys.modules[fetch.__module__]
    monkeypatch.setattr(module, "_SLOWEST", len(CONTENT) * 2)  # half a second for it all
    began = time.monotonic()
    with pytest.raises(FetchError, match=r"too slow: \d+ of 256000 bytes so far"):
        get([mirror("drip")], tmp_path / "file", timeout=0.3)
    assert 0.3 < time.monotonic() - began < 4
    assert os.listdir(tmp_path) == []


def test_when_all_fail_each_is_listed_with_its_reason_and_the_cure(mirror, tmp_path, monkeypatch):
    def getaddrinfo(host, *args, **options):  # no test asks the network for names
        if host == "127.0.0.1":
            return known(host, *args, **options)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    known = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    path = tmp_path / "file"
    path.write_bytes(b"as before")
    urls = [closed_port(), "http://name.invalid/file", "no url", *map(mirror, FAULTS)]
    with pytest.raises(FetchError) as caught:
        get(urls, path)
    said, cure = str(caught.value).split("). ")  # on one line
    first, reasons = said.split(" (", 1)
    lines = reasons.split("; ")
    assert first == "the file could not be fetched"
    assert len(lines) == len(urls) and all(url in line for url, line in zip(urls, lines))
    assert "refused" in lines[0] and "not known" in lines[1]
    assert all(line.split(": ", 1)[1] for line in lines)
    assert "--data-dir" in cure and "MINAE_DATA" in cure
    assert path.read_bytes() == b"as before" and os.listdir(tmp_path) == ["file"]


def test_a_place_that_cannot_be_written_is_no_fault_of_the_mirrors(mirror, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError) as caught:
        get([mirror("good"), mirror("good")], tmp_path / "file" / "below")
    assert not isinstance(caught.value, FetchError)
    assert mirror.asked == ["good"]


def test_intact_files(tmp_path):
    path = tmp_path / "file"
    assert not is_intact(path, len(CONTENT), SHA256)
    path.write_bytes(CONTENT)
    assert is_intact(path, len(CONTENT), SHA256)
    assert not is_intact(path, len(CONTENT) + 1, SHA256)
    path.write_bytes(CONTENT[::-1])
    assert not is_intact(path, len(CONTENT), SHA256)
