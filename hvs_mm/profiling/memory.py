"""The most memory that a piece of work takes."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

import torch


def peak_memory(work: Callable[[], object], device: torch.device) -> int:
    """Bytes in use at the worst moment of some work, with what was in use before it.

    On a GPU those of torch's allocator. On the CPU the resident memory of the process, of which
    Linux keeps the maximum and lets it be reset.

    Args:
        work: What to run.
        device: Where it runs.

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
    status = Path('/proc/self/status')
    try:
        # What earlier work has freed must not count as taken.
        ctypes.CDLL(None).malloc_trim(0)
        Path('/proc/self/clear_refs').write_text('5')
    except (OSError, AttributeError) as error:
        raise RuntimeError(
            f'the peak of resident memory can be read on Linux with glibc only ({error}): leave '
            'memory out with --no-memory.'
        ) from error
    work()
    (line,) = (line for line in status.read_text().splitlines() if line.startswith('VmHWM'))
    return int(line.split()[1]) * 1024
