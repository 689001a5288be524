from .checks.checkpoint_checks import resumed_checkpoint
from .checks.overrides import check_overrides
from .checks.preflight import preflight, preflight_test
from .checks.trust_checks import check_trust
from .checks.work_dir_checks import remove_checkpoints
from .hooks.bad_images_hook import BadImagesHook
from .hooks.checkpoint_trust_hook import CheckpointTrustHook, trust_checkpoints
from .hooks.console_hook import ConsoleHook
from .hooks.equal_batches_hook import EqualBatchesHook, check_batches
from .hooks.finite_step_hook import FiniteStepHook, NonFiniteError, step_was_skipped
from .hooks.gradient_hook import GradientHook, clip_each_gradient
from .hooks.preemption_hook import PREEMPTED, Preempted, PreemptionHook
from .hooks.progress_hook import ProgressHook
from .hooks.safe_checkpoint_hook import SafeCheckpointHook
from .hooks.scalar_history_hook import ScalarHistoryHook
from .hooks.selection_stats_hook import SelectionStatsHook
from .hooks.swav_queue_hook import SwAVQueueHook
from .hooks.teacher_hook import TeacherHook, cosine_schedule
from .hooks.threads_hook import ThreadsHook
from .hooks.work_dir_lock_hook import WorkDirLockHook
from .optim.autocast_optim_wrapper import AutocastOptimWrapper
from .optim.hardness_schedule import HardnessSchedule
from .optim.layer_decay import LayerDecayConstructor
from .optim.weight_decay import CosineWeightDecay
from .runners.building import (
    build_model,
    build_runner,
    build_training_dataset,
    load_selecting_model,
)
from .runners.checkpoint_paths import CheckpointError
from .runners.command_line import (
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
    set_verbose,
    set_work_dir,
    tool_parser,
    write_json,
)
from .runners.cpu_distributed import CPUDistributedDataParallel, prepare_cpu_distributed
from .runners.fully_shard import FullyShard
from .runners.loader_workers import describe_loader_failure
from .runners.reliable_runner import ReliableRunner
from .runners.resumable_loop import ResumableEpochLoop
from .runners.training_session import TrainingSession
from .runners.work_dir_failure import describe_work_dir_failure
from .runners.work_dir_lock import WorkDirLock

__all__ = [
    'PREEMPTED',
    'AutocastOptimWrapper',
    'BadImagesHook',
    'CPUDistributedDataParallel',
    'CheckpointError',
    'CheckpointTrustHook',
    'ConsoleHook',
    'CosineWeightDecay',
    'EqualBatchesHook',
    'FiniteStepHook',
    'FullyShard',
    'GradientHook',
    'HardnessSchedule',
    'LayerDecayConstructor',
    'NonFiniteError',
    'Preempted',
    'PreemptionHook',
    'ProgressHook',
    'ReliableRunner',
    'ResumableEpochLoop',
    'SafeCheckpointHook',
    'ScalarHistoryHook',
    'SelectionStatsHook',
    'SwAVQueueHook',
    'TeacherHook',
    'ThreadsHook',
    'TrainingSession',
    'WorkDirLock',
    'WorkDirLockHook',
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
    'describe_loader_failure',
    'describe_work_dir_failure',
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
    'remove_checkpoints',
    'resumed_checkpoint',
    'set_verbose',
    'set_work_dir',
    'step_was_skipped',
    'tool_parser',
    'trust_checkpoints',
    'write_json',
]
