"""Run a study: train and evaluate every run of it that is not in the results yet."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from hvs_mm.engine import (
    CheckpointError,
    NonFiniteError,
    add_config_options,
    add_trust_option,
    build_model,
    error_line,
    preflight,
)
from hvs_mm.evaluation import KNNEvaluation, choose_network
from hvs_mm.models import ViewsError
from hvs_mm.reports import printable
from hvs_mm.study import (
    BUSY,
    Job,
    PlannedRun,
    Study,
    append_result,
    available_cores,
    check_linear,
    config_hash,
    key_of,
    limit_threads,
    perform_run,
    read_results,
    read_study,
    remove_checkpoints,
    resolve_config,
    run_folder,
    run_jobs,
    slot_environments,
    visible_gpus,
)
from hvs_mm.utils.bad_images import BadImagesError

ROOT = Path(__file__).resolve().parents[2]
#: What a user can solve.
ERRORS = (ImportError, KeyError, OSError, SyntaxError, TypeError, ValueError)
#: Names of lines that do not count.
SHOWN = 5
#: What a training ends with, beside.
TRAINING_ERRORS = (BadImagesError, CheckpointError, NonFiniteError, ViewsError)


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('study', help='a study file, see docs/studies.md')
    parser.add_argument(
        '--work-dir', help='where runs write; by default work_dirs/studies/<name of the study>'
    )
    parser.add_argument(
        '--results',
        metavar='FILE',
        help='where the lines of finished runs go; by default results.jsonl in the work dir',
    )
    parser.add_argument(
        '--jobs',
        type=int,
        help='runs at a time; by default one per GPU, or as many as the cores have threads for',
    )
    parser.add_argument(
        '--list', action='store_true', help='say which runs are finished, and run nothing'
    )
    parser.add_argument(
        '--keep-checkpoints', action='store_true', help='keep those of finished runs'
    )
    # How this tool starts itself.
    parser.add_argument('--one', metavar='RUN', help=argparse.SUPPRESS)
    add_trust_option(parser)
    add_config_options(parser, 'train_dataloader.dataset.data_root=DIR')
    return parser.parse_args(argv)


def default_jobs(study: Study) -> int:
    """As many runs as the machine has GPUs, or cores for."""
    return torch.cuda.device_count() or max(available_cores() // study.threads, 1)


def check_study(study: Study, args: argparse.Namespace) -> dict[PlannedRun, str]:
    """Check all settings before anything is written.

    Returns:
        The hash of the config of every run.
    """
    if study.evaluation.linear_c is not None:
        check_linear()
    hashes, configs = {}, {}
    for run in study.runs:
        # Runs that differ by their seed alone have all else in common.
        kind = (run.method, run.arm, run.epochs)
        if kind not in configs:
            configs[kind] = resolve_config(study, run, args.cfg_options)
            if not args.list:
                check_run(study, run, configs[kind], args)
        configs[kind].randomness.seed = run.seed
        hashes[run] = config_hash(configs[kind], study)
    return hashes


def check_run(study: Study, run: PlannedRun, cfg: Config, args: argparse.Namespace) -> None:
    """Check that a run can be built, and that its images are there."""
    # The check of checkpoints looks there; this run may go on from one, and checks it then.
    cfg.work_dir = str(args.work_dir)
    try:
        preflight(cfg, args.trust)
        KNNEvaluation(cfg, study.evaluation.knn)
        if study.evaluation.knn.network is not None:
            choose_network(build_model(cfg, args.trust), study.evaluation.knn.network)
    except (FileNotFoundError, ImportError, KeyError, TypeError, ValueError) as error:
        text = error_line(error).removeprefix('error: ')
        raise ValueError(f'{study.path}: run {run.id}: {text}') from error
    cfg.pop('work_dir')


def run_one(study: Study, args: argparse.Namespace) -> None:
    """Make one run, in this process, and write its line."""
    run = next((run for run in study.runs if run.id == args.one), None)
    if run is None:
        raise ValueError(f'--one {args.one}: {study.path} has no such run.')
    digest = config_hash(resolve_config(study, run, args.cfg_options), study)
    folder = run_folder(args.work_dir, run, digest)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / 'lock', 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(BUSY)
        key = (study.name, run.id, digest)
        if key not in map(key_of, read_results(args.results)):
            record = perform_run(study, run, args.work_dir, args.cfg_options, args.jobs, args.trust)
            append_result(args.results, record)
        if not args.keep_checkpoints:
            remove_checkpoints(folder)


class Progress:
    """Says how a study goes on, and remembers what has failed."""

    def __init__(self, number: int, find: Callable[[Job], dict[str, Any] | None]) -> None:
        self.number = number
        self.find = find
        self.done = 0
        self.failed: list[tuple[Job, str]] = []

    def __call__(self, job: Job, status: int, seconds: float) -> None:
        self.done += 1
        record = self.find(job) if status == 0 else None
        if record is not None:
            linear = record['linear']
            accuracy = f'k-NN {record["knn"]:.2f} %' + (
                f', linear {linear:.2f} %' if linear is not None else ''
            )
            said = f'{accuracy}, {seconds:.0f} s'
        elif status == 0:
            # Its process has read the files anew.
            said = 'made with other settings: the study or a config was changed meanwhile'
            self.failed.append((job, said))
        elif status == BUSY:
            said = 'another process is at it, passed over'
        else:
            said = f'failed, see {printable(job.log)}'
            self.failed.append((job, last_line(job.log)))
        print(f'{self.done}/{self.number} {job.name}: {said}', flush=True)


def last_line(path: Path) -> str:
    lines = path.read_text(encoding='utf-8', errors='replace').splitlines()
    return printable(next((line for line in reversed(lines) if line.strip()), 'no output').strip())


def run_study(study: Study, args: argparse.Namespace, argv: Sequence[str]) -> None:
    """Make all runs that are not in the results yet, in processes of their own."""
    hashes = check_study(study, args)

    ids = {run.id: (study.name, run.id, hashes[run]) for run in study.runs}

    def find(job: Job) -> dict[str, Any] | None:
        records = {key_of(record): record for record in read_results(args.results)}
        return records.get(ids[job.name])

    finished = set(map(key_of, read_results(args.results)))
    others = {key for key in finished if key[0] == study.name} - set(ids.values())
    waiting = [run for run in study.runs if ids[run.id] not in finished]
    print(
        f'{study.name}: {len(study.runs)} runs, {len(study.runs) - len(waiting)} of them finished '
        f'in {printable(args.results)}'
    )
    if others:
        names = sorted(printable(run) for _, run, _ in others)
        more = f' and {len(names) - SHOWN} more' if names[SHOWN:] else ''
        print(
            f'{len(others)} lines there are of no run of it, or of other settings, and do not '
            f'count: {", ".join(names[:SHOWN])}{more}'
        )
    if args.list:
        for run in study.runs:
            print(f'{run.id}: {"waiting" if run in waiting else "finished"}')
        return
    if not waiting:
        return
    print(f'{args.jobs} at a time, {study.threads} threads each, in {printable(args.work_dir)}')
    tool = str(Path(__file__).resolve())
    jobs = [
        Job(
            run.id,
            [sys.executable, tool, *argv, '--one', run.id, '--jobs', str(args.jobs)],
            run_folder(args.work_dir, run, hashes[run]) / 'output.log',
        )
        for run in waiting
    ]
    environment = limit_threads(os.environ, study.threads)
    gpus = visible_gpus(torch.cuda.device_count(), os.environ)
    progress = Progress(len(jobs), find)
    run_jobs(
        jobs,
        slot_environments(args.jobs, gpus, environment),
        progress,
        # Another process may have finished it meanwhile.
        lambda job: find(job) is None,
    )
    if progress.failed:
        job, reason = progress.failed[0]
        sys.exit(
            f'error: {len(progress.failed)} of {len(jobs)} runs failed, the first: {job.name} '
            f'({reason.removeprefix("error: ")}), log: {printable(job.log)}. Start the command '
            'again to try them again.'
        )


def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    args = parse_args(argv)
    try:
        study = read_study(args.study, ROOT)
        if args.jobs is None:
            args.jobs = default_jobs(study)
        if args.jobs < 1:
            raise ValueError(f'--jobs {args.jobs}: it must be at least 1.')
        args.work_dir = Path(args.work_dir or Path('work_dirs', 'studies', study.name))
        args.results = Path(args.results or args.work_dir / 'results.jsonl')
        if args.one is not None:
            run_one(study, args)
        else:
            run_study(study, args, argv)
    except KeyboardInterrupt:
        print('stopped; the same command goes on.', file=sys.stderr)
        sys.exit(130)
    except (*ERRORS, *TRAINING_ERRORS) as error:
        sys.exit(error_line(error))


if __name__ == '__main__':
    main()
