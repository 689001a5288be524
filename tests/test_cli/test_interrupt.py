"""Ctrl-C ends a command without a traceback."""

from __future__ import annotations

import pytest

from hvs_mm_cli import views
from hvs_mm_cli.main import main


def test_interrupt(monkeypatch):
    def stop(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(views, 'run', stop)
    with pytest.raises(SystemExit, match=r'^stopped$'):
        main(['views', '--data', 'images'])
