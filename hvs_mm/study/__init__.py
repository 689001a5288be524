from .curve_hook import Curve, CurveHook
from .estimates import (
    Difference,
    Estimate,
    Interval,
    check_estimates,
    estimate,
    interval,
    paired_difference,
)
from .linear import LinearResult, check_linear, linear_accuracy
from .one_run import available_cores, limit_threads, perform_run, remove_checkpoints, run_folder
from .page import Page, fill_page
from .plots import (
    draw_accuracy_over_epochs,
    draw_accuracy_over_time,
    draw_iou_over_epochs,
)
from .processes import BUSY, Job, run_jobs, slot_environments, visible_gpus
from .resolved_config import config_hash, resolve_config
from .results import Result, load_results
from .results_file import ResultsError, append_result, key_of, read_results
from .schedule import set_epochs
from .study_file import PlannedRun, Study, StudyError, read_study
from .tables import (
    BlockError,
    accuracy_table,
    differences_table,
    provenance_table,
    selection_table,
    tuning_table,
)

__all__ = [
    'BUSY',
    'BlockError',
    'Curve',
    'CurveHook',
    'Difference',
    'Estimate',
    'Interval',
    'Job',
    'LinearResult',
    'Page',
    'PlannedRun',
    'Result',
    'ResultsError',
    'Study',
    'StudyError',
    'accuracy_table',
    'append_result',
    'available_cores',
    'check_estimates',
    'check_linear',
    'config_hash',
    'differences_table',
    'draw_accuracy_over_epochs',
    'draw_accuracy_over_time',
    'draw_iou_over_epochs',
    'estimate',
    'fill_page',
    'interval',
    'key_of',
    'limit_threads',
    'linear_accuracy',
    'load_results',
    'paired_difference',
    'perform_run',
    'provenance_table',
    'read_results',
    'read_study',
    'remove_checkpoints',
    'resolve_config',
    'run_folder',
    'run_jobs',
    'selection_table',
    'set_epochs',
    'slot_environments',
    'tuning_table',
    'visible_gpus',
]
