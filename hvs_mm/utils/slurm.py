"""Put a job back into Slurm's queue."""

from __future__ import annotations

import os
import shutil
import subprocess

#: Seconds that Slurm's controller may take to answer.
_TIMEOUT = 30


def requeue_job() -> str | None:
    """Requeue the Slurm job that this process belongs to; return what came of it, for a message.

    Returns ``None`` outside of a job. Slurm requeues only batch jobs (``sbatch --requeue``).
    """
    job = os.environ.get('SLURM_JOB_ID')
    if job is None:
        return None
    if 'SLURM_ARRAY_JOB_ID' in os.environ:
        # The last element of an array has the job id of the whole array.
        job = f'{os.environ["SLURM_ARRAY_JOB_ID"]}_{os.environ["SLURM_ARRAY_TASK_ID"]}'
    scontrol = shutil.which('scontrol')
    if scontrol is None:
        return f'job {job} is not requeued: there is no scontrol on this node'
    try:
        done = subprocess.run(
            [scontrol, 'requeue', job], capture_output=True, text=True, timeout=_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f'job {job} is not requeued: {error}'
    if done.returncode:
        reason = ' '.join((done.stderr or done.stdout).split())
        return f'job {job} is not requeued: scontrol says {reason!r}'
    return f'job {job} is requeued'
