"""Time, memory and options of a benchmark."""

from __future__ import annotations

import argparse
import ctypes
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import torch

from hvs_mm.engine import add_config_options, tool_parser


def benchmark_parser(
    description: str, example: str, several: bool = False, **numbers: tuple[int | None, str]
) -> argparse.ArgumentParser:
    """The parser of a benchmark of one config or several.

    ``example`` is a setting worth overriding, ``KEY=VALUE``; ``numbers`` give the default and the
    help of options that are positive numbers, by name.
    """
    parser = tool_parser(description)
    if several:
        parser.add_argument('configs', nargs='+', metavar='CONFIG', help='with hard view selection')
    else:
        parser.add_argument('config', help='config of a pretraining run')
    for name, (default, text) in numbers.items():
        option = f'--{name.replace("_", "-")}'
        shown = text if default is None else f'{text} (default: {default})'
        parser.add_argument(option, type=positive_int, default=default, help=shown)
    add_config_options(parser, example)
    return parser


def positive_int(text: str) -> int:
    """The type of an option that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} must be a whole number, at least 1')
    return int(text)


def summarize(
    values: Sequence[float], names: Sequence[str] = ('median', 'low', 'high')
) -> dict[str, float]:
    """Median, lowest and highest of one value per repetition, under these names."""
    return dict(zip(names, map(float, (median(values), min(values), max(values)))))


class Clock:
    """Adds up seconds by name: on a GPU between events, so that nothing waits until they are read.

    Elsewhere it is the time on the wall, or with ``cpu_time`` the CPU time of this process, which
    other processes leave alone.
    """

    def __init__(self, device: torch.device | str = 'cpu', cpu_time: bool = False) -> None:
        self._on_gpu = torch.device(device).type == 'cuda'
        self._cpu_time = cpu_time
        self._spans: list[tuple[str, object, object]] = []

    def now(self) -> object:
        """The present point in time, for :meth:`add`."""
        if not self._on_gpu:
            return time.process_time() if self._cpu_time else time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def add(self, name: str, started: object, stopped: object) -> None:
        """Add the time between two points to ``name``."""
        self._spans.append((name, started, stopped))

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time of a block to ``name``."""
        started = self.now()
        yield
        self.add(name, started, self.now())

    def read(self) -> dict[str, float]:
        """Seconds by name since the last reading; waits for a GPU."""
        if self._on_gpu:
            torch.cuda.synchronize()
        seconds: dict[str, float] = {}
        for name, started, stopped in self._spans:
            span = started.elapsed_time(stopped) / 1e3 if self._on_gpu else stopped - started
            seconds[name] = seconds.get(name, 0.0) + span
        self._spans.clear()
        return seconds


def peak_memory(work: Callable[[], object], device: torch.device) -> int:
    """Bytes in use at the worst moment of some work, those in use before it included.

    Torch's allocator counts them on a GPU. On the CPU it is the resident memory of the process,
    whose maximum Linux keeps and lets us reset.

    Raises:
        RuntimeError: If the system does not tell.
    """
    gc.collect()
    if device.type == 'cuda':
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated(device)
    try:
        # Memory that earlier work has freed must not count.
        ctypes.CDLL(None).malloc_trim(0)
        Path('/proc/self/clear_refs').write_text('5')
    except (OSError, AttributeError) as error:
        raise RuntimeError(
            f'the peak of resident memory can be read on Linux with glibc only ({error}): leave '
            'memory out with --no-memory.'
        ) from error
    work()
    lines = Path('/proc/self/status').read_text().splitlines()
    (line,) = (line for line in lines if line.startswith('VmHWM'))
    return int(line.split()[1]) * 1024
