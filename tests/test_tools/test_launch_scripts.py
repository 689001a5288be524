"""What the launch scripts start, with stand-ins for Slurm's commands and for Python."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest

from tests.helpers.tools import ROOT

ECHO = '#!/bin/sh\nprintf "%s\\n" "$(basename "$0")" "$@"; env | grep ^PET_ || true\n'


@pytest.fixture
def start(tmp_path):
    for name in ('srun', 'sbatch', 'python'):
        (tmp_path / name).write_text(ECHO)
        (tmp_path / name).chmod(0o755)

    def run(script, *arguments, **environment):
        # `make test PYTHON=...` hands it on.
        outer = {name: value for name, value in os.environ.items() if name != 'PYTHON'}
        done = subprocess.run(
            ['bash', str(ROOT / 'tools' / script), *arguments],
            env={**outer, **environment, 'PATH': f'{tmp_path}:{os.environ["PATH"]}'},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()

    return run


def after(words, word):
    return words[words.index(word) + 1 :]


def test_torchrun(start):
    words = start('dist_train.sh', 'a b.py', '4', '--amp', MAX_RESTARTS='2')
    assert words[:3] == ['python', '-m', 'torch.distributed.run']
    assert {'--nproc_per_node=4', '--max_restarts=2'} <= set(words)
    # The processes save when torchrun gets it.
    assert 'PET_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1' in words
    own = ['a b.py', '--resume', 'auto', '--launcher', 'pytorch', '--amp']
    assert after(words, str(ROOT / 'tools/train.py'))[:-1] == own


def test_machines_wait_as_long_as_processes(start):
    assert '--rdzv_conf=timeout=600' in start('dist_train.sh', 'a.py', '1')
    options = ['--cfg-options', 'a=b', 'env_cfg.dist_cfg.timeout=20', 'c=d']
    assert '--rdzv_conf=timeout=20' in start('dist_train.sh', 'a.py', '1', *options)


def test_an_unknown_host(start):
    # The real Python, which looks it up.
    known = {'PYTHON': sys.executable, 'NNODES': '2', 'MASTER_ADDR': 'no-such-host.invalid'}
    with pytest.raises(subprocess.CalledProcessError) as error:
        start('dist_train.sh', 'a.py', '1', **known)
    assert re.fullmatch('error: MASTER_ADDR=no-such-host.invalid: .*\n', error.value.stderr)
    # A stand-in that finds every host.
    assert '--master_addr=no-such-host.invalid' in start(
        'dist_train.sh', 'a.py', '1', MASTER_ADDR='no-such-host.invalid'
    )


SLURM = ['part', 'name', 'a b.py', 'run dir', '--resume', 'x.pth']
OWN = ['a b.py', '--work-dir', 'run dir', '--resume', 'auto', '--launcher', 'slurm']


def test_a_slurm_step(start):
    words = start('slurm_train.sh', *SLURM, GPUS='4', SRUN_ARGS='--mem 9G')
    assert words[0] == 'srun'
    assert {'--partition=part', '--ntasks=4', '--signal=USR1@120', '--mem', '9G'} <= set(words)
    # What is typed wins.
    assert after(words, str(ROOT / 'tools/train.py')) == [*OWN, '--resume', 'x.pth']


def test_a_slurm_job_that_can_be_requeued(start):
    words = start('slurm_train.sh', *SLURM, BATCH='1', SBATCH_ARGS='--time 60')
    assert words[0] == 'sbatch'
    assert {'--requeue', '--signal=USR1@120', '--time', '60'} <= set(words)
    command = shlex.split(words[-1].removeprefix('--wrap='))
    assert command[:2] == ['exec', 'srun']
    assert '--kill-on-bad-exit=1' in command
    assert after(command, str(ROOT / 'tools/train.py')) == [*OWN, '--resume', 'x.pth']
