"""Times of parts of a step, on the CPU or a GPU."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import torch


@dataclass(frozen=True)
class Times:
    """A quantity over the repetitions of a measurement.

    Attributes:
        median: The median.
        low: The smallest.
        high: The largest.
    """

    median: float
    low: float
    high: float


def summarize(values: Sequence[float]) -> Times:
    """Median and spread of one value per repetition."""
    return Times(median(values), min(values), max(values))


class Clock:
    """Adds up seconds by name; on a GPU between events, which wait for nothing until read.

    Args:
        device: Where the work runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == 'cuda'
        self._spans: list[tuple[str, object, object]] = []

    def _now(self) -> object:
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def start(self) -> object:
        """The present point in time."""
        return self._now()

    def stop(self, name: str, started: object) -> None:
        """Add the time since ``started`` to ``name``."""
        self._spans.append((name, started, self._now()))

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time of a block to ``name``."""
        started = self.start()
        yield
        self.stop(name, started)

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
