"""``tools/study/run.py``, with real runs, in this process but where the process is tested."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hvs_study.record import describe_machine
from tests.helpers.studies import BATCH, EPOCHS, IMAGES, rewritten, write_study
from tests.helpers.tools import ROOT, load_tool

STEPS = EPOCHS * IMAGES // BATCH
#: What of a record is of the machine and the hour.
OF_THE_HOUR = ('started', 'starts', 'seconds', 'cpu_seconds', 'process_cpu_seconds', 'jobs')


def command(study: Path, *arguments: str) -> list[str]:
    paths = ['--work-dir', study.parent / 'work', '--results', study.parent / 'out.jsonl']
    return [str(part) for part in (study, *paths, *arguments)]


def run_here(study: Path, *arguments: str) -> None:
    load_tool('study/run').main(command(study, '--jobs', '2', *arguments))


def make(study: Path, arm: str, *arguments: str) -> None:
    """Make one run in this process, as a process of the tool does."""
    run_here(study, '--one', f'simsiam-{arm}-e{EPOCHS}-s0', *arguments)


def start(study: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the tool as users do."""
    return subprocess.run(
        [sys.executable, 'tools/study/run.py', *command(study, *arguments)],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )


def records_of(study: Path) -> dict[str, dict[str, Any]]:
    path = study.parent / 'out.jsonl'
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({record['run'] for record in found}) == len(found)
    return {record['arm']: record for record in found}


def without_times(record: dict[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in record.items() if key not in OF_THE_HOUR}
    curve = found['curve']
    found['curve'] = {key: value for key, value in curve.items() if 'seconds' not in key}
    # The config and the plan name the folder of the faults.
    return {**found, 'config_hash': '', 'plan': ''}


@pytest.fixture(scope='module')
def finished(tmp_path_factory) -> Path:
    """A study whose two runs were made."""
    study = write_study(tmp_path_factory.mktemp('study'))
    for arm in ('baseline', 'hardest'):
        make(study, arm)
    return study


def test_every_run_has_a_line(finished):
    records = records_of(finished)
    assert set(records) == {'baseline', 'hardest'}
    for arm, record in records.items():
        assert record['run'] == f'simsiam-{arm}-e{EPOCHS}-s0'
        assert (record['study'], record['method'], record['seed']) == ('tiny', 'simsiam', 0)
        assert record['steps'] == STEPS
        assert (record['threads'], record['jobs'], record['skipped_steps']) == (1, 2, 0)
        assert len(record['config_hash']) == 64
        assert record['starts'][0]['dirty'] == record['dirty']
        assert record['starts'][0]['machine'] == record['machine'] == describe_machine()
        assert record['versions']['python'] == sys.version.split()[0]
        assert {'hvs_mm', 'torch', 'mmengine', 'mmpretrain', 'mmcv'} < set(record['versions'])
        curve = record['curve']
        assert curve['epoch'] == [0, 1, 2]
        assert curve['steps'] == [0, STEPS // 2, STEPS]
        # Of 20 queries.
        assert all(value % 5 == 0 for value in (*curve['knn'], record['linear']))
        assert curve['knn'][-1] == record['knn']
        assert curve['loss'][0] is None
        assert 0 == curve['seconds'][0] < curve['seconds'][1] < curve['seconds'][2]
        assert curve['seconds'][2] == record['seconds']
        # It has one thread, and this and that to wait for.
        assert 0 < record['cpu_seconds'] < 1.1 * record['seconds'] + 0.1
        assert len(json.dumps(record)) < 4500
    assert records['baseline']['selection'] is None
    selection = records['hardest']['selection']
    assert selection['epoch'] == [1, 2]
    kept = [values[-1] for name, values in selection.items() if re.fullmatch('kept_.*-.*', name)]
    assert sum(kept) == pytest.approx(1, abs=1e-3)
    for kept, every, gap in zip(*(selection[f'iou_{n}'] for n in ('kept', 'all', 'gap'))):
        assert gap == pytest.approx(kept - every, abs=2e-4)
    # The same weights before training.
    assert records['baseline']['curve']['knn'][0] == records['hardest']['curve']['knn'][0]
    assert records['baseline']['config_hash'] != records['hardest']['config_hash']


def test_the_numbers_are_those_of_the_log(finished):
    """What MMEngine wrote of the loss, and the revision that git tells."""
    record = records_of(finished)['hardest']
    (log,) = (finished.parent / 'work').glob('simsiam-hardest-*/*/vis_data/scalars.json')
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    # Of windows of 10 iterations, which reach back to the start: the last is over all.
    losses = [entry['loss'] for entry in entries if 'loss' in entry]
    assert losses[-1] == pytest.approx(sum(record['curve']['loss'][1:]) / EPOCHS, rel=1e-4)
    if (ROOT / '.git').exists():
        told = subprocess.run(
            ['git', 'rev-parse', 'HEAD'], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert record['revision'] == told.stdout.strip()


def test_checkpoints_of_finished_runs_are_removed(finished):
    assert len(list((finished.parent / 'work').glob('*/lock'))) == 2
    assert not list((finished.parent / 'work').rglob('*.pth'))


def test_finished_runs_are_not_made_again(finished, capfd):
    before = (finished.parent / 'out.jsonl').read_bytes()
    run_here(finished)
    make(finished, 'hardest')
    said = capfd.readouterr().out
    assert '2 runs, 2 of them finished' in said
    assert 'planned before' not in said
    assert (finished.parent / 'out.jsonl').read_bytes() == before
    # A run more changes the plan, and no other run.
    text = finished.read_text()
    rewritten(finished, 'seeds=[0]', 'seeds=[0, 1]')
    run_here(finished, '--list')
    finished.write_text(text)
    assert f'2 of these were planned before {finished} was changed' in capfd.readouterr().out
    # With another setting they are other runs.
    run_here(finished, '--list', '--cfg-options', 'optim_wrapper.optimizer.lr=0.5')
    said = capfd.readouterr().out
    assert '2 runs, 0 of them finished' in said
    assert (
        '2 lines of other runs or settings do not count: '
        'simsiam-baseline-e2-s0, simsiam-hardest-e2-s0'
    ) in said


def test_outcomes_of_processes(tmp_path):
    tool = load_tool('study/run')
    job = tool.Job('simsiam-hardest-e2-s0', [], tmp_path / 'output.log')
    said, reason = tool.outcome(job, 0, 3.0, None)
    assert said == reason
    assert 'made with other settings' in said
    assert tool.outcome(job, tool.BUSY, 3.0, None) == (
        'another process is making it, skipped', None
    )  # fmt: skip
    record = {'knn': 61.234, 'linear': 70.0}
    assert tool.outcome(job, 0, 3.2, record) == ('k-NN 61.23 %, linear 70.00 %, 3 s', None)
    fast = {**record, 'images': 500, 'fork': 1, 'epochs': 3, 'cpu_seconds': 5.0}
    said, _ = tool.outcome(job, 0, 3.2, fast)
    assert said.endswith('3 s, CPU 5 s of training, 2.50 s per 1,000 images')
    job.log.write_text('begun\nerror: \x1b[31mred\n\n')
    said, reason = tool.outcome(job, 1, 3.0, record)
    assert said == f'failed, see {job.log}'
    assert reason == r'error: \x1b[31mred'
    job.log.write_text('')
    assert tool.outcome(job, -9, 3.0, None)[1] == 'ended by SIGKILL after: no output'


def test_a_network_that_no_model_has_is_refused(tmp_path):
    study = write_study(tmp_path)
    study.write_text(study.read_text().replace('knn=dict(', "knn=dict(network='techer', "))
    with pytest.raises(SystemExit, match=r"run simsiam-baseline-e2-s0: network='techer'"):
        run_here(study)
    assert not (tmp_path / 'work').exists()


def test_what_the_linear_evaluation_needs(tmp_path, monkeypatch):
    tool = load_tool('study/run')
    monkeypatch.setattr(tool, 'find_spec', lambda name: None)
    with pytest.raises(SystemExit, match=r'pip install "hvs-mm\[analysis\]"') as error:
        run_here(write_study(tmp_path))
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'work').exists()


@pytest.mark.slow
def test_a_run_that_was_killed_resumes(finished, tmp_path):
    """From end to end: two runs at a time in processes of their own, one of which dies."""
    whole = records_of(finished)
    # In the second epoch.
    study = write_study(tmp_path, after=[STEPS - 1])
    process = start(study, '--jobs', '2')
    assert process.returncode == 1
    assert 'tiny: 2 runs, 0 of them finished' in process.stdout
    assert '2 at a time, 1 threads each' in process.stdout
    assert '2/2' in process.stdout
    assert 'failed, see' in process.stdout
    assert 'error: 1 of 2 runs failed, the first: simsiam-hardest' in process.stderr
    assert set(records_of(study)) == {'baseline'}
    assert len(list((tmp_path / 'work').glob('*/output.log'))) == 2
    assert [path.name for path in (tmp_path / 'work').rglob('*.pth')] == ['epoch_1.pth']
    make(study, 'hardest', '--keep-checkpoints')
    first = records_of(study)['hardest']
    for arm, record in records_of(study).items():
        assert without_times(record) == without_times(whole[arm])
    assert 0 < first['curve']['seconds'][1] < first['curve']['seconds'][2]
    # Of both processes, the first of which has begun it.
    assert len(whole['hardest']['starts']) == 1
    assert len(first['starts']) == 2
    assert first['started'] == first['starts'][0]['started'] <= first['starts'][1]['started']
    assert {one['revision'] for one in first['starts']} == {first['revision']}
    # From the last checkpoint there is nothing to train, and the clocks stand where they stood.
    (tmp_path / 'out.jsonl').unlink()
    make(study, 'hardest')
    again = records_of(study)['hardest']
    assert again.pop('starts')[:2] == first.pop('starts')
    # The one clock that counts the start and the evaluation of each process.
    assert again.pop('process_cpu_seconds') > first.pop('process_cpu_seconds')
    assert again == first
    assert not list((tmp_path / 'work').rglob('simsiam-hardest-*/*.pth'))


def test_a_run_that_another_process_makes_is_skipped(tmp_path):
    study = write_study(tmp_path, arms=('hardest',))
    tool = load_tool('study/run')
    args = tool.parse_args(command(study))
    args.list = True
    settings = tool.read_study(str(study), ROOT)
    ((run, digest),) = tool.check_study(settings, args).items()
    folder = tool.run_folder(args.work_dir, run, digest)
    folder.mkdir(parents=True)
    with open(folder / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SystemExit) as error:
            make(study, 'hardest')
    assert error.value.code == tool.BUSY
    assert not (tmp_path / 'out.jsonl').exists()


def test_an_interrupt_is_no_failure(tmp_path, monkeypatch, capsys):
    def interrupt(jobs: list[Any], *_: Any) -> None:
        assert [job.name for job in jobs] == ['simsiam-hardest-e2-s0']
        raise KeyboardInterrupt

    monkeypatch.setattr(load_tool('study/run'), 'run_jobs', interrupt)
    with pytest.raises(SystemExit) as error:
        run_here(write_study(tmp_path, arms=('hardest',)))
    assert error.value.code == 130
    assert 'the same command continues' in capsys.readouterr().err
