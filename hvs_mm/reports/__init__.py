from .curves import draw_curves
from .dumped_config import parse_config
from .rows import Row, make_rows
from .run import Run, read_runs
from .tables import csv_table, markdown_table, terminal_table

__all__ = [
    'Row',
    'Run',
    'csv_table',
    'draw_curves',
    'make_rows',
    'markdown_table',
    'parse_config',
    'read_runs',
    'terminal_table',
]
