from ..utils.dumped_config import parse_config
from ..utils.printable import printable
from .comparison import csv_table, make_rows, markdown_rows, markdown_table, terminal_table
from .curves import draw_curves
from .health_plots import draw_health_plots
from .run import check_neighbors, is_work_dir, read_runs
from .selection_plots import draw_selection_plots
from .selection_report import selection_html
from .selection_series import selection_series, wilson_interval

__all__ = [
    'check_neighbors',
    'csv_table',
    'draw_curves',
    'draw_health_plots',
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
