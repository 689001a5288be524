from .autocast_optim_wrapper import AutocastOptimWrapper
from .bad_images_hook import BadImagesHook
from .building import build_model, build_runner, build_training_dataset
from .checkpoint_checks import resumed_checkpoint
from .checkpoint_place import CheckpointError
from .checkpoint_trust import CheckpointTrustHook, check_trust, trust_checkpoints
from .command_line import (
    add_config_options,
    add_example_options,
    add_trust_option,
    build_trusted_model,
    check_example_options,
    check_picture,
    error_line,
    merge_options,
    one_line_errors,
    output_file,
    parse_launched,
    read_config,
    read_merged_config,
    set_work_dir,
    tool_parser,
    write_json,
)
from .cpu_distributed import CPUDistributedDataParallel, prepare_cpu_distributed
from .equal_batches_hook import EqualBatchesHook, check_batches
from .finite_step_hook import FiniteStepHook, NonFiniteError, step_was_skipped
from .gradient_hook import GradientHook, clip_each_gradient
from .overrides import check_overrides
from .preflight import preflight, preflight_test
from .progress_hook import ProgressHook
from .reliable_runner import ReliableRunner
from .resumable_loop import ResumableEpochLoop
from .safe_checkpoint_hook import SafeCheckpointHook
from .scalar_history_hook import ScalarHistoryHook
from .selection_stats_hook import SelectionStatsHook
from .teacher_hook import TeacherHook, cosine_schedule
from .trained_model import load_selecting_model
from .weight_decay import CosineWeightDecay

__all__ = [
    'AutocastOptimWrapper',
    'BadImagesHook',
    'CPUDistributedDataParallel',
    'CheckpointError',
    'CheckpointTrustHook',
    'CosineWeightDecay',
    'EqualBatchesHook',
    'FiniteStepHook',
    'GradientHook',
    'NonFiniteError',
    'ProgressHook',
    'ReliableRunner',
    'ResumableEpochLoop',
    'SafeCheckpointHook',
    'ScalarHistoryHook',
    'SelectionStatsHook',
    'TeacherHook',
    'add_config_options',
    'add_example_options',
    'add_trust_option',
    'build_model',
    'build_runner',
    'build_training_dataset',
    'build_trusted_model',
    'check_batches',
    'check_example_options',
    'check_overrides',
    'check_picture',
    'check_trust',
    'clip_each_gradient',
    'cosine_schedule',
    'error_line',
    'load_selecting_model',
    'merge_options',
    'one_line_errors',
    'output_file',
    'parse_launched',
    'preflight',
    'preflight_test',
    'prepare_cpu_distributed',
    'read_config',
    'read_merged_config',
    'resumed_checkpoint',
    'set_work_dir',
    'step_was_skipped',
    'tool_parser',
    'trust_checkpoints',
    'write_json',
]
