"""End a process of several when the launcher that started it dies."""

from __future__ import annotations

import os
import sys
import threading
import time

#: torchrun sets it for the processes that it starts.
_STARTED_BY_TORCHRUN = 'TORCHELASTIC_RUN_ID'
#: Seconds from one look at the parent to the next.
_INTERVAL = 1.0


def end_with_launcher() -> None:
    """End this process soon after torchrun, if torchrun has started it and dies.

    A torchrun that is killed cannot end its processes: they would train on, and write beside the
    run that a batch system has started in their place. Processes that were started otherwise may
    outlive their parent, as with ``nohup``. A thread looks at the parent every second, also while
    another process is waited for.
    """
    if _STARTED_BY_TORCHRUN in os.environ:
        threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_INTERVAL)
    print(
        f'error: torchrun (process {parent}) has died, which started this one: process '
        f'{os.getpid()} ends, and saves nothing. Start again with --resume.',
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)
