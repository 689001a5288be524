from .curve_hook import Curve, CurveHook
from .linear import LinearResult, check_linear, linear_accuracy
from .one_run import available_cores, limit_threads, perform_run, remove_checkpoints, run_folder
from .processes import BUSY, Job, run_jobs, slot_environments, visible_gpus
from .resolved_config import config_hash, resolve_config
from .results_file import ResultsError, append_result, key_of, read_results
from .schedule import set_epochs
from .study_file import PlannedRun, Study, StudyError, read_study

__all__ = [
    'BUSY',
    'Curve',
    'CurveHook',
    'Job',
    'LinearResult',
    'PlannedRun',
    'ResultsError',
    'Study',
    'StudyError',
    'append_result',
    'available_cores',
    'check_linear',
    'config_hash',
    'key_of',
    'limit_threads',
    'linear_accuracy',
    'perform_run',
    'read_results',
    'read_study',
    'remove_checkpoints',
    'resolve_config',
    'run_folder',
    'run_jobs',
    'set_epochs',
    'slot_environments',
    'visible_gpus',
]
