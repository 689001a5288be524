"""What ``tools/study/run.py`` and ``tools/study/report.py`` share; see ``docs/studies.md``."""
