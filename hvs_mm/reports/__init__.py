from ..utils.dumped_config import parse_config
from ..utils.printable import printable
from .curves import draw_curves
from .rows import Row, make_rows
from .run import Run, is_work_dir, read_runs
from .selection_html import selection_html
from .selection_plots import draw_selection_plots
from .selection_series import Period, selection_series, wilson_interval
from .tables import csv_table, markdown_rows, markdown_table, terminal_table

__all__ = [
    'Period',
    'Row',
    'Run',
    'csv_table',
    'draw_curves',
    'draw_selection_plots',
    'is_work_dir',
    'make_rows',
    'markdown_rows',
    'markdown_table',
    'parse_config',
    'printable',
    'read_runs',
    'selection_html',
    'selection_series',
    'terminal_table',
    'wilson_interval',
]
