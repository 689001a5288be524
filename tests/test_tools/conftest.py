from __future__ import annotations

import pytest


@pytest.fixture
def own_folder(tmp_path_factory, monkeypatch):
    """A current folder of its own for a test of what tools write there."""
    monkeypatch.chdir(tmp_path_factory.mktemp('here'))
