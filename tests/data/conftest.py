"""No test here meets the network, or the user's own folders."""

import os
from pathlib import Path

import pytest

from minae.data import mnist

SHARED = os.environ.get("MINAE_DATA", "")


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("MINAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MINAE_DATA", raising=False)
    for name in mnist.MIRRORS:
        monkeypatch.setitem(mnist.MIRRORS, name, ["http://127.0.0.1:1/nothing/"])


@pytest.fixture(scope="session")
def real():
    """``real(name)``: the folder of a real data set under $MINAE_DATA, or the test is skipped."""

    def folder(name):
        if not SHARED or not (Path(SHARED) / name).is_dir():
            pytest.skip(f"MINAE_DATA names no folder that holds {name}")
        return Path(SHARED) / name

    return folder
