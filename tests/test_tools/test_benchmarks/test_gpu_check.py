"""``tools/benchmarks/gpu_check.py``: its plan, its process and its page."""

from __future__ import annotations

import json
import os
import signal
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.helpers.tools import load_tool, run_tool

gpu_check = load_tool('benchmarks/gpu_check')
# Importable since the tool has been loaded.
from gpu_parts import parts, plan, setting, step_costs, waiting, worker  # noqa: E402
from gpu_parts.page import write_page  # noqa: E402

TINY = setting.Setting('cpu', tiny=True)
SIMSIAM, DINO = list(setting.METHODS)[:2]

pytestmark = pytest.mark.usefixtures('own_folder', 'no_runner')


# --- The plan --------------------------------------------------------------------------------


class Time:
    """A clock, and parts that take some seconds of it."""

    def __init__(self):
        self.now, self.limits = 0.0, {}

    def part(self, name, expected, taken, status='measured'):
        return plan.Part(name, 'step', lambda: None, expected, {'of': (name, taken, status)})

    def run(self, function, arguments, limit):
        name, taken, status = arguments['of']
        self.limits[name] = limit
        if status == 'interrupt':
            raise KeyboardInterrupt
        if taken > limit:
            taken, status = limit, 'stopped'
        self.now += taken
        return {'status': status, 'reason': None, 'result': None}


def test_the_time_is_kept():
    time = Time()
    rows = plan.run_plan(
        [
            time.part('a', 10, 30),
            time.part('hangs', 30, 1000),
            time.part('long', 200, 1),
            time.part('b', 20, 1000),
            time.part('c', 1, 1),
        ],
        time.run,
        190,
        now=lambda: time.now,
    )
    assert [(row['name'], row['status'], row['seconds']) for row in rows] == [
        ('a', 'measured', 30),
        ('hangs', 'failed', 120),
        ('long', 'left out', 0),
        ('b', 'left out', 40),
        ('c', 'left out', 0),
    ]
    assert time.now == 190
    assert time.limits == {'a': 90, 'hangs': 120, 'b': 40}
    assert [row['reason'] for row in rows[1:]] == [
        'stopped after 120 s, about 30 s were expected',
        'takes about 200 s, 40 s were left',
        'stopped after 40 s, when the time was over',
        'takes about 1 s, 0 s were left',
    ]


def test_an_interrupt_leaves_the_rest_out():
    time, saved, told = Time(), [], []
    work = [time.part('a', 1, 1), time.part('b', 1, 1, 'interrupt'), time.part('c', 1, 1)]
    rows = plan.run_plan(
        work, time.run, 60, save=lambda rows: saved.append(len(rows)), tell=told.append
    )
    assert [row['status'] for row in rows] == ['measured', 'left out', 'left out']
    assert saved == [1, 2, 3]
    assert told[2].endswith('c: left out: interrupted')


def test_a_process_survives_no_fault_but_the_parts_do():
    """Functions of Python's library, which the process imports at once."""
    with worker.Worker() as run:
        assert run(dict, {'a': 1}, 60) == {
            'status': 'measured',
            'reason': None,
            'result': {'a': 1},
        }
        first = run._process.pid
        assert run(dict, {'b': 1, 'failed': 'too slow'}, 60)['reason'] == 'too slow'
        outcome = run(json.loads, {'s': '\n\n?'}, 60)
        assert outcome['reason'] == 'JSONDecodeError: Expecting value: line 3 column 1 (char 2)'
        assert 'Traceback' in outcome['traceback']
        # Not in the process of the part that failed.
        assert run._process is None
        assert run(os._exit, {'status': 3}, 60)['reason'] == 'the process died with exit code 3'
        assert run(signal.pause, {}, 0.5)['status'] == 'stopped'
        assert run(dict, {}, 60)['status'] == 'measured'
        assert run._process.pid != first
        last = run._process
    assert not last.is_alive()


# --- The tool --------------------------------------------------------------------------------


class Inline:
    """The worker, in this process."""

    def __init__(self, tidy):
        self.context = nullcontext(
            lambda function, arguments, _: worker.attempt(function, arguments)
        )

    def __enter__(self):
        return self.context.__enter__()

    def __exit__(self, *exception):
        pass


def explode():
    raise torch.cuda.OutOfMemoryError('CUDA out of memory.\nTried | to allocate')


def test_one_part_that_fails(capsys, monkeypatch):
    def lines(setting):
        on_gpu = {'setting': setting, 'method': DINO}
        return [
            parts.all_parts(setting)[0],
            plan.Part('a', 'step', explode, 1, {}),
            plan.Part('b', 'no waiting', waiting.check_waiting, 1, on_gpu),
        ]

    monkeypatch.setattr(gpu_check, 'all_parts', lines)
    monkeypatch.setattr(gpu_check, 'Worker', Inline)
    # The tool sets it for its process.
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(SystemExit, match=r'^error: 1 of 3 parts failed: a\.$'):
        gpu_check.main(['--tiny', '--out', 'out/check'])
    content = json.loads(Path('out/check.json').read_text())
    assert [row['status'] for row in content['parts']] == ['measured', 'failed', 'not run']
    page = Path('out/check.md').read_text()
    assert '| a | failed | OutOfMemoryError: CUDA out of memory. Tried \\| to allocate |' in page
    assert '| b | not run | needs CUDA |' in page
    assert '| precision of the steps | bf16 |' in page
    assert 'Tiny mode' in page
    assert 'b: not run: needs CUDA' in capsys.readouterr().out


def test_the_page():
    spread = {'median': 1.5, 'low': 1.4, 'high': 1.6}
    step = {
        'dtype': 'bf16', 'batch_size': 256, 'images_per_second': {'vanilla': 1000.4, 'hvs': 600},
        'ratio': spread, 'vanilla_memory': 2**30, 'hvs_memory': 3 * 2**29,
        'batch_ends': 'out of memory at 512',
    }  # fmt: skip
    places = {
        'method': DINO,
        'loader': {'loading': 12.7, 'preparing': 0.01},
        'device': {'loading': 6.0, 'preparing': 1.25},
    }
    waits = {'vanilla': None, 'hvs': 'a/b/c.py:7 f', 'dtype': 'bf16'}
    rows = [
        row('machine', 'machine', {'device': 'NVIDIA H200'}),
        row(f'{DINO}: eager', 'step', {**step, 'measured_floor': spread, 'selecting': spread}),
        row('compiled', 'step', step),
        row('x', 'no waiting', waits, 'failed', 'it waits'),
        row('y', 'photometry', places),
    ]
    page = write_page({'device': 'cuda', 'tiny': False, 'seconds': 400.2, 'parts': rows})
    lines = page.splitlines()
    assert lines[0] == '# GPU check: NVIDIA H200'
    assert 'Tiny' not in page
    ratio = '1.50 [1.40, 1.60]'
    end = '1.0 | 1.5 | out of memory at 512 |'
    assert f'| {DINO}: eager | bf16 | 256 | 1000 | 600 | {ratio} | 1.50 | 150.0% | {end}' in lines
    assert f'| compiled | bf16 | 256 | 1000 | 600 | {ratio} |  |  | {end}' in lines
    assert '| x | no | plain step waits: no; with hard views: a/b/c.py:7 f (bf16) |' in lines
    # 600 images a second at 12.7 and 6 ms.
    assert '| y | 12.7 | 0.0 | 6.0 | 1.2 | 8 | 4 |' in lines
    assert '| x | failed | it waits |' in lines


def row(name, kind, result, status='measured', reason=None):
    return {'name': name, 'kind': kind, 'status': status, 'reason': reason, 'result': result}


def test_every_part_of_the_plan():
    """All methods, eager and compiled, with and without the fast mode; the time is enough."""
    planned = parts.all_parts(setting.Setting('cuda', tiny=False))
    costs = [part.arguments for part in planned if part.function is step_costs.measure_cost]
    kinds = {(of['method'], of['compiled'], of['fast']) for of in costs}
    assert len(kinds) == len(costs) == 4 * 2 * 2
    assert len({part.name for part in planned}) == len(planned)
    compiled_fast = [of for of in costs if of['compiled'] and of['fast']]
    # What is left out first.
    assert costs[-4:] == compiled_fast
    assert sum(part.seconds for part in planned[:-6]) < 470


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [([], 'torch sees no GPU here: add --tiny'), (['--tiny', '--minutes', '0'], '--minutes 0')],
)
def test_bad_input(arguments, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(SystemExit, match=f'^error: {message}'):
        gpu_check.main(arguments)
    assert not list(Path().iterdir())


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    torch.cuda.is_available(), reason='what a CPU cannot do: runs where there is no GPU, as in CI'
)
def test_tiny_mode(tmp_path):
    done = run_tool(
        'benchmarks/gpu_check', '--tiny', '--minutes', 14, '--out', tmp_path / 'check', cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / 'check.json').read_text())['parts']
    assert [row['name'] for row in rows] == [part.name for part in parts.all_parts(TINY)]
    by_status = {row['name']: SimpleNamespace(**row) for row in rows}
    for name, row in by_status.items():
        needs_cuda = any(word in name for word in ('no waiting', 'loss scaling', 'compiled'))
        expected = 'not run' if needs_cuda and name != f'{SIMSIAM}: compiled' else 'measured'
        assert row.status == expected, (name, row.reason)
    assert by_status[f'{SIMSIAM}: compiled'].result['graphs'] > 3
    assert by_status[f'{DINO}: resuming'].result['difference'] == 0
    page = (tmp_path / 'check.md').read_text()
    assert all(name in page for name in by_status if name != 'machine')
