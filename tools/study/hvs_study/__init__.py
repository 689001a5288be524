"""Modules of ``tools/study/run.py`` and ``tools/study/report.py``; see ``docs/studies.md``."""
