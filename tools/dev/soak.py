"""Let a small run meet faults for hours: is it still the run it would have been, and does it leak?

Trains SimSiam with selection on images of its own making, of which some are broken, and restarts
the training with --resume whenever it ends. At random,

- the trainer is killed (SIGKILL), sometimes with its newest checkpoint cut in half afterwards,
- the trainer is told to stop (SIGTERM), must save, and end with the exit code 75,
- another trainer is started in its folder, and must be rejected,
- a worker of its loader is killed,
- gradients become NaN.

All of it depends on --seed but for the moments of the kills. Afterwards it checks that

- every iteration that was done again, after a restart, has the very loss of the first time,
- no iteration is missing, and every loss is finite,
- the trainer's memory and its open files do not grow with the iterations of a process,
- no process and no shared memory is left over.

It exits with 1 and says what failed. Logs: run/soak.jsonl, a line an iteration, and trainer.log.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS
from rich.console import Console
from rich.table import Table

from hvs_mm.engine import PREEMPTED, step_was_skipped, tool_parser

ROOT = Path(__file__).parents[2]
IMAGES, BROKEN = 48, 4
#: Iterations of a process in which its memory may still settle.
_WARM_UP = 200
#: What a process may grow by beyond that: in MiB per 1000 iterations, and in files. A life of 4449
#: iterations grew by 2 MiB per 1000, in steps of 4 MiB, of which short lives make slopes up to 11.
#: A batch that is not let go of in every iteration makes 375.
_MAX_SLOPE, _MAX_FILES = 20.0, 3
#: Iterations whose least memory and files count.
_BLOCK = 20
#: Environment variable that marks the processes of a soak.
_MARK = 'HVS_MM_SOAK'

CONFIG = """
_base_ = '{root}/configs/demo/hvs_simsiam.py'
custom_imports = dict(imports=['hvs_mm', 'soak'])
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(
        _delete_=True,
        type='CustomDataset',
        data_root={data!r},
        with_label=False,
        pipeline=[
            dict(type='LoadCheckedImage'),
            dict(
                type='CandidateViews',
                num_views=[4],
                transforms=[{{{{_base_.view_pipeline}}}}]),
            dict(type='PackViews'),
        ]))
# So long that no soak ends it.
train_cfg = dict(max_epochs=1000000)
param_scheduler = []
custom_hooks = [dict(type='SoakHook', seed={seed})]
default_hooks = dict(
    logger=dict(interval=10),
    selection=dict(interval=10),
    panel=dict(interval=1000000),
    bad_images=dict(type='BadImagesHook', max_share={share}),
    checkpoint=dict(by_epoch=False, interval=20, max_keep_ckpts=2))
randomness = dict(seed={seed})
"""


@HOOKS.register_module()
class SoakHook(Hook):
    """Makes gradients NaN now and then, always in the same iterations, and logs the process."""

    # After FiniteStepHook, and before a checkpoint: a kill in between repeats the iteration.
    priority = 'BELOW_NORMAL'

    def __init__(self, seed: int, prob: float = 0.02) -> None:
        self.seed, self.prob = seed, prob

    def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        generator = np.random.default_rng((self.seed, runner.iter))
        self._handles = []
        if generator.random() < self.prob:
            parameter = next(p for p in runner.model.parameters() if p.requires_grad)
            self._handles = [parameter.register_hook(lambda gradient: gradient * float('nan'))]

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        entry = {
            'iter': runner.iter,
            'loss': outputs['loss'].item(),
            'skipped': step_was_skipped(runner),
            'pid': os.getpid(),
            'rss': _resident_memory(os.getpid()),
            'files': len(os.listdir('/proc/self/fd')),
        }
        with open(Path(runner.work_dir, 'soak.jsonl'), 'a') as file:
            file.write(json.dumps(entry) + '\n')


def _resident_memory(pid: int) -> int:
    """Bytes that a process has and does not share."""
    fields = Path(f'/proc/{pid}/statm').read_text().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf('SC_PAGE_SIZE')


def write_images(folder: Path, seed: int) -> None:
    """Smooth color images, some of them cut in half or no images at all."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    for number in range(IMAGES):
        coarse = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC)
        content = cv2.imencode('.jpg', image)[1].tobytes()
        if number < BROKEN:
            content = content[: len(content) // 2] if number % 2 else b'no image'
        (folder / f'{number:03}.jpg').write_bytes(content)


def processes(mark: str) -> list[int]:
    """The processes of a soak, trainer and workers."""
    found = []
    for entry in Path('/proc').glob('[0-9]*'):
        try:
            if f'{_MARK}={mark}'.encode() in (entry / 'environ').read_bytes():
                found.append(int(entry.name))
        except OSError:
            # It has ended, or is somebody else's.
            continue
    return found


def shared_memory() -> set[str]:
    folder = Path('/dev/shm')
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def cut_newest_checkpoint(work_dir: Path) -> bool:
    """Cut the newest of several checkpoints in half."""
    paths = sorted(work_dir.glob('iter_*.pth'), key=lambda path: path.stat().st_mtime_ns)
    if len(paths) < 2:
        return False
    with open(paths[-1], 'r+b') as file:
        file.truncate(paths[-1].stat().st_size // 2)
    return True


class Soak:
    """One soak: starts trainers and harms them.

    Args:
        args: From the command line.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.work_dir = Path(args.work_dir).absolute()
        self.run_dir = self.work_dir / 'run'
        self.mark = f'{os.getpid()}_{time.time_ns()}'
        self.random = random.Random(args.seed)
        self.faults: Counter[str] = Counter()
        self.problems: list[str] = []

    def prepare(self) -> None:
        write_images(self.work_dir / 'data', self.args.seed)
        text = CONFIG.format(
            root=ROOT,
            data=str(self.work_dir / 'data'),
            seed=self.args.seed,
            # Those that are broken, and none more.
            share=BROKEN / IMAGES,
        )
        (self.work_dir / 'config.py').write_text(text)

    def start(self) -> subprocess.Popen:
        paths = [str(ROOT), str(Path(__file__).parent), os.environ.get('PYTHONPATH', '')]
        env = {
            'OMP_NUM_THREADS': '1',
            **os.environ,
            'PYTHONPATH': os.pathsep.join(path for path in paths if path),
            _MARK: self.mark,
        }
        command = [sys.executable, str(ROOT / 'tools' / 'train.py'), 'config.py', '--resume']
        with open(self.work_dir / 'trainer.log', 'ab') as log:
            return subprocess.Popen(
                [*command, '--work-dir', str(self.run_dir)],
                cwd=self.work_dir,
                env=env,
                stdout=log,
                stderr=log,
            )

    def run(self) -> None:
        end = time.monotonic() + 60 * self.args.minutes
        while time.monotonic() < end:
            self.live(end)
            time.sleep(1)
            self.expect_no_process()

    def live(self, end: float) -> None:
        """Start a trainer and harm it, or let the end of the soak do so."""
        known = self.iterations()
        trainer = self.start()
        if not self.wait(trainer, lambda: self.iterations() > known, 300):
            self.problems.append(
                f'a trainer ended with {trainer.poll()} before its first iteration: see trainer.log'
            )
            raise SystemExit(self.report())
        life = self.random.expovariate(1 / self.args.mean_life)
        by_itself = self.wait(trainer, lambda: False, min(life, end - time.monotonic()))
        if trainer.poll() is not None and not by_itself:
            self.problems.append(f'a trainer ended with {trainer.returncode}, unharmed')
            return
        if self.random.random() < 0.1:
            self.expect_code('second trainer', self.start(), 1)
        workers = [pid for pid in processes(self.mark) if pid != trainer.pid]
        if workers and self.random.random() < 0.4:
            kill(self.random.choice(workers))
            self.faults['worker killed'] += 1
            # The loader notices, and the trainer ends by itself.
            if not self.wait(trainer, lambda: False, 60) and trainer.poll() is None:
                self.problems.append('a trainer did not notice that a worker was killed')
            if trainer.poll() == 0:
                self.problems.append('a trainer without a worker ended with 0')
        elif self.random.random() < 0.4:
            trainer.terminate()
            self.expect_code('trainer stopped', trainer, PREEMPTED)
        else:
            self.faults['trainer killed'] += 1
        kill(trainer.pid)
        trainer.wait()
        if self.random.random() < 0.3 and cut_newest_checkpoint(self.run_dir):
            self.faults['checkpoint cut'] += 1

    def expect_code(self, fault: str, trainer: subprocess.Popen, code: int) -> None:
        """Wait for the end of a trainer, which must have an exit code."""
        self.faults[fault] += 1
        # Beside other work a trainer may take minutes to start.
        self.wait(trainer, lambda: False, 600)
        if trainer.poll() != code:
            self.problems.append(f'{fault}: it ended with {trainer.poll()} instead of {code}')
        kill(trainer.pid)

    def wait(self, trainer: subprocess.Popen, condition: Any, seconds: float) -> bool:
        """Wait for a condition; whether it came before the time was over and the trainer ended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and trainer.poll() is None:
            if condition():
                return True
            time.sleep(0.1)
        return False

    def iterations(self) -> int:
        """How many iterations were done so far, those done again included."""
        path = self.run_dir / 'soak.jsonl'
        return path.read_bytes().count(b'\n') if path.exists() else 0

    def expect_no_process(self) -> None:
        # Workers look for their parent every 5 seconds.
        end = time.monotonic() + 30
        while time.monotonic() < end and processes(self.mark):
            time.sleep(0.5)
        left = processes(self.mark)
        if left:
            self.problems.append(f'{len(left)} processes outlived their trainer by 30 s')
            for pid in left:
                kill(pid)

    def report(self) -> int:
        """Print what happened and what is wrong with it; the exit status."""
        path = self.run_dir / 'soak.jsonl'
        text = path.read_text() if path.exists() else ''
        # A line that the kill cut off.
        lines = [line for line in text.splitlines() if line.endswith('}')]
        entries = [json.loads(line) for line in lines]
        self.problems += check_losses(entries)
        growth = measure_growth(entries)
        self.problems += check_growth(growth)
        table = Table(title='soak', show_header=False)
        table.add_row('iterations', f'{len({e["iter"] for e in entries})}')
        table.add_row('of them done again', f'{len(entries) - len({e["iter"] for e in entries})}')
        table.add_row('steps skipped', f'{sum(e["skipped"] for e in entries)}')
        table.add_row('trainers', f'{len({e["pid"] for e in entries})}')
        for fault, number in sorted(self.faults.items()):
            table.add_row(fault, str(number))
        for name, (slope, unit) in growth.items():
            table.add_row(f'{name}, longest lives', f'{slope:+.2f} {unit} per 1000 iterations')
        if not growth:
            table.add_row('growth', f'no trainer lived for {2 * _WARM_UP} iterations: unknown')
        Console().print(table)
        for problem in self.problems:
            print(f'FAILED: {problem}')
        return 1 if self.problems else 0


def check_losses(entries: list[dict[str, Any]]) -> list[str]:
    """Whether the iterations of all lives make up one run."""
    problems, first = [], {}
    for entry in entries:
        number, loss = entry['iter'], entry['loss']
        if not np.isfinite(loss):
            problems.append(f'the loss of iteration {number} is {loss}')
        if first.setdefault(number, loss) != loss:
            problems.append(
                f'the loss of iteration {number} was {first[number]}, and {loss} when it was done '
                'again'
            )
    missing = set(range(max(first, default=-1) + 1)) - first.keys()
    if missing or not first:
        problems.append(f'{len(missing)} of {max(first, default=-1) + 1} iterations are missing')
    return problems


def measure_growth(entries: list[dict[str, Any]]) -> dict[str, tuple[float, str]]:
    """Slopes over the iterations of a process, of the longer half of the lives that settled."""
    lives: dict[int, list[dict[str, Any]]] = {}
    for entry in entries:
        lives.setdefault(entry['pid'], []).append(entry)
    settled = sorted((life[_WARM_UP:] for life in lives.values()), key=len, reverse=True)
    settled = [life for life in settled[: (len(settled) + 1) // 2] if len(life) > _WARM_UP]
    if not settled:
        return {}
    found = {}
    for key, scale, unit in (('rss', 2**20, 'MiB'), ('files', 1, 'files')):
        slopes = [_slope([e[key] / scale for e in life]) for life in settled]
        weights = [len(life) for life in settled]
        found[key] = (1000 * float(np.average(slopes, weights=weights)), unit)
    return found


def _slope(values: list[float]) -> float:
    """By how much the least of a block of values grows, per value."""
    # Batches on their way from the workers hold files and memory, now more, now fewer.
    starts = range(0, len(values) - _BLOCK + 1, _BLOCK)
    return float(np.polyfit(starts, [min(values[i : i + _BLOCK]) for i in starts], 1)[0])


def check_growth(growth: dict[str, tuple[float, str]]) -> list[str]:
    limits = {'rss': _MAX_SLOPE, 'files': _MAX_FILES}
    return [
        f'{name} grows by {slope:.2f} {unit} per 1000 iterations, more than {limits[name]}'
        for name, (slope, unit) in growth.items()
        if slope > limits[name]
    ]


def main(argv: list[str] | None = None) -> int:
    parser = tool_parser(__doc__)
    parser.add_argument('--minutes', type=float, default=3, help='how long, 3')
    parser.add_argument('--mean-life', type=float, default=15, help='of a trainer in seconds, 15')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--work-dir', default='work_dirs/soak', help='replaced; work_dirs/soak')
    args = parser.parse_args(argv)
    if args.minutes <= 0 or args.mean_life <= 0:
        parser.error('--minutes and --mean-life must be positive.')
    soak = Soak(args)
    if soak.work_dir.exists():
        if not (soak.work_dir / 'config.py').exists():
            parser.error(f'--work-dir {args.work_dir}: it exists and is not of a soak.')
        shutil.rmtree(soak.work_dir)
    before = shared_memory()
    soak.prepare()
    soak.run()
    # torch_PID_...: those of other runs on this machine have a living maker.
    left = {
        name
        for name in shared_memory() - before
        if name.startswith('torch_') and not Path('/proc', name.split('_')[1]).exists()
    }
    if left:
        soak.problems.append(f'{len(left)} pieces of shared memory are left in /dev/shm')
    return soak.report()


if __name__ == '__main__':
    sys.exit(main())
