"""Run a study: train and evaluate every run of it that is not in the results yet."""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
from collections.abc import Sequence
from importlib.util import find_spec
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
    one_line_errors,
    preflight,
    tool_parser,
)
from hvs_mm.evaluation import KNNEvaluation, choose_network
from hvs_mm.models import ViewsError
from hvs_mm.reports import printable
from hvs_mm.utils.bad_images import BadImagesError
from hvs_study.comparison import check_arms
from hvs_study.config import config_hash, resolve_config, resolve_trunk
from hvs_study.plan import PlannedRun, Study, read_study
from hvs_study.processes import BUSY, Job, job_environments, run_jobs
from hvs_study.results import append_result, key_of, read_results
from hvs_study.training import perform_run, run_folder, transfer_evaluations

ROOT = Path(__file__).resolve().parents[2]
#: Errors that a user can solve, and those that end a training.
ERRORS = (ImportError, KeyError, OSError, SyntaxError, TypeError, ValueError)
ERRORS += (BadImagesError, CheckpointError, NonFiniteError, ViewsError)
#: Modules that every run needs.
PRELOADED = ('hvs_study.training', 'sklearn.linear_model', 'sklearn.pipeline')
#: Names of lines that do not count that are shown.
SHOWN = 5


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('study', help='a study file, see docs/studies.md')
    parser.add_argument('--work-dir', help='for runs; default: work_dirs/studies/<study name>')
    parser.add_argument('--results', help='file of lines; default: results.jsonl in the work dir')
    jobs = 'runs at a time; default: one per GPU, or as many as the cores have threads for'
    parser.add_argument('--jobs', type=int, help=jobs)
    listed = 'say which runs are finished, and run nothing'
    parser.add_argument('--list', action='store_true', help=listed)
    parser.add_argument('--keep-checkpoints', action='store_true', help='also of finished runs')
    # How this tool starts itself.
    parser.add_argument('--one', metavar='RUN', help=argparse.SUPPRESS)
    add_trust_option(parser)
    add_config_options(parser, 'train_dataloader.dataset.data_root=DIR')
    return parser.parse_args(argv)


def check_study(study: Study, args: argparse.Namespace) -> dict[PlannedRun, str]:
    """Check all settings before anything is written; return the hash of the config of each run."""
    if find_spec('sklearn') is None:
        raise ImportError('scikit-learn: not installed, run pip install "hvs-mm[analysis]".')
    hashes, configs, first = {}, {}, {}
    for run in study.runs:
        # Runs that differ only by their seed have all else in common.
        kind = (run.method, run.arm, run.epochs, run.fork)
        if kind not in configs:
            configs[kind] = resolve_configs(study, run, args)
            # Hyperparameters of an arm hold for all its lengths.
            other, cfg = first.setdefault(run.method, (run, configs[kind][0]))
            if (other.epochs, other.fork) == (run.epochs, run.fork):
                check_arms(run.id, configs[kind][0], other.id, cfg)
            if not args.list:
                check_run(study, run, configs[kind][0], args)
        for cfg in filter(None, configs[kind]):
            cfg.randomness.seed = run.seed
        cfg, trunk = configs[kind]
        hashes[run] = config_hash(cfg, study, trunk)
    return hashes


def resolve_configs(
    study: Study, run: PlannedRun, args: argparse.Namespace
) -> tuple[Config, Config | None]:
    """The configs of a run, and of what it forks from."""
    trunk = resolve_trunk(study, run, args.cfg_options) if run.fork else None
    return resolve_config(study, run, args.cfg_options), trunk


def check_run(study: Study, run: PlannedRun, cfg: Config, args: argparse.Namespace) -> None:
    """Check that a run can be built, and that its images are there."""
    # The check of checkpoints looks there; a run that resumes from one checks it then.
    cfg.work_dir = str(args.work_dir)
    try:
        preflight(cfg, args.trust)
        KNNEvaluation(cfg, study.knn)
        transfer_evaluations(study, cfg)
        if study.knn.network is not None:
            choose_network(build_model(cfg, args.trust), study.knn.network)
    except (FileNotFoundError, ImportError, KeyError, TypeError, ValueError) as error:
        text = error_line(error).removeprefix('error: ')
        raise ValueError(f'{study.path}: run {run.id}: {text}') from error


def run_one(study: Study, args: argparse.Namespace) -> None:
    """Make one run, in this process, and write its line."""
    run = next((run for run in study.runs if run.id == args.one), None)
    if run is None:
        raise ValueError(f'--one {args.one}: {study.path} has no such run.')
    cfg, trunk = resolve_configs(study, run, args)
    digest = config_hash(cfg, study, trunk)
    folder = run_folder(args.work_dir, run, digest)
    folder.mkdir(parents=True, exist_ok=True)
    cfg.work_dir = str(folder)
    with open(folder / 'lock', 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(BUSY)
        if (study.name, run.id, digest) not in map(key_of, read_results(args.results)):
            result = perform_run(study, run, cfg, args.jobs, args.trust, trunk)
            append_result(args.results, result)
        if not args.keep_checkpoints:
            for path in [*folder.glob('*.pth'), folder / 'last_checkpoint']:
                path.unlink(missing_ok=True)


def outcome(
    job: Job, status: int, seconds: float, record: dict[str, Any] | None
) -> tuple[str, str | None]:
    """The line to print about a process that has ended, and why its run failed, if it did."""
    if status == BUSY:
        return 'another process is making it, skipped', None
    if status != 0:
        output = job.log.read_text(encoding='utf-8', errors='replace').split('\n')
        last = next((line for line in reversed(output) if line.strip()), 'no output')
        if status < 0:
            # Such as SIGKILL, if the memory ran out.
            last = f'ended by {signal.Signals(-status).name} after: {last}'
        return f'failed, see {printable(job.log)}', printable(last.strip())
    if record is None:
        # Its process has read the files again.
        text = 'made with other settings: the study or a config was changed while it ran'
        return text, text
    accuracies = f'k-NN {record["knn"]:.2f} %, linear {record["linear"]:.2f} %'
    return f'{accuracies}, {seconds:.0f} s{_cost(record)}', None


def _cost(record: dict[str, Any]) -> str:
    """The CPU time of training, of runs that say how many images they have."""
    cpu, images = record.get('cpu_seconds'), record.get('images')
    if not cpu or not images:
        return ''
    thousands = images * (record['fork'] + record['epochs']) / 1000
    return f', CPU {cpu:.0f} s of training, {cpu / thousands:.2f} s per 1,000 images'


def run_study(study: Study, args: argparse.Namespace, argv: Sequence[str]) -> None:
    """Make all runs that are not in the results yet, in processes of their own."""
    hashes = check_study(study, args)
    keys = {run.id: (study.name, run.id, digest) for run, digest in hashes.items()}

    def find(job: Job) -> dict[str, Any] | None:
        records = {key_of(record): record for record in read_results(args.results)}
        return records.get(keys[job.name])

    records = read_results(args.results)
    finished = set(map(key_of, records))
    waiting = [run for run in study.runs if keys[run.id] not in finished]
    number, done = len(study.runs), len(study.runs) - len(waiting)
    print(f'{study.name}: {number} runs, {done} of them finished in {printable(args.results)}')
    others = sorted({key for key in finished if key[0] == study.name} - set(keys.values()))
    if others:
        names = ', '.join(printable(run) for _, run, _ in others[:SHOWN])
        more = f' and {len(others) - SHOWN} more' if others[SHOWN:] else ''
        print(f'{len(others)} lines of other runs or settings do not count: {names}{more}')
    changed = [one for one in records if one.get('plan', study.plan) != study.plan]
    if changed := [one for one in changed if key_of(one) in keys.values()]:
        print(f'{len(changed)} of these were planned before {study.path} was changed, and count')
    if args.list:
        for run in study.runs:
            print(f'{run.id}: {"waiting" if run in waiting else "finished"}')
    if args.list or not waiting:
        return
    print(f'{args.jobs} at a time, {study.threads} threads each, in {printable(args.work_dir)}')
    command = [str(Path(__file__).resolve()), *argv, '--jobs', str(args.jobs)]
    folders = {run.id: run_folder(args.work_dir, run, hashes[run]) for run in waiting}
    jobs = [Job(n, [*command, '--one', n], f / 'output.log') for n, f in folders.items()]
    ended: list[tuple[Job, str | None]] = []

    def note(job: Job, status: int, seconds: float) -> None:
        said, reason = outcome(job, status, seconds, find(job))
        ended.append((job, reason))
        print(f'{len(ended)}/{len(jobs)} {job.name}: {said}', flush=True)

    places = job_environments(args.jobs, study.threads, torch.cuda.device_count(), os.environ)
    # Another process may have finished a run since.
    run_jobs(jobs, places, note, lambda job: find(job) is None, PRELOADED)
    failed = [(job, reason) for job, reason in ended if reason is not None]
    if failed:
        job, reason = failed[0]
        sys.exit(
            f'error: {len(failed)} of {len(jobs)} runs failed, the first: {job.name} '
            f'({reason.removeprefix("error: ")}), log: {printable(job.log)}. Start the command '
            'again to try them again.'
        )


def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    args = parse_args(argv)
    try:
        with one_line_errors(*ERRORS):
            study = read_study(args.study, ROOT)
            if args.jobs is None:
                cores = len(os.sched_getaffinity(0))
                args.jobs = torch.cuda.device_count() or max(cores // study.threads, 1)
            if args.jobs < 1:
                raise ValueError(f'--jobs {args.jobs}: it must be at least 1.')
            args.work_dir = Path(args.work_dir or Path('work_dirs', 'studies', study.name))
            args.results = Path(args.results or args.work_dir / 'results.jsonl')
            if args.one is not None:
                run_one(study, args)
            else:
                run_study(study, args, argv)
    except KeyboardInterrupt:
        print('stopped; the same command continues the study.', file=sys.stderr)
        sys.exit(130)


if __name__ == '__main__':
    main()
