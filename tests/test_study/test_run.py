"""``tools/study/run.py``, with real runs."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hvs_mm.study.record import describe_machine
from tests.studies import BATCH, EPOCHS, IMAGES, write_study
from tests.tools import ROOT, load_tool

pytestmark = pytest.mark.slow
STEPS = EPOCHS * IMAGES // BATCH
#: What of a record is of the machine and the hour.
OF_THE_HOUR = ('started', 'starts', 'seconds', 'cpu_seconds', 'jobs')


def command(study: Path, *arguments: str) -> list[str]:
    paths = ['--work-dir', study.parent / 'work', '--results', study.parent / 'out.jsonl']
    return [str(part) for part in (study, *paths, *arguments)]


def run_here(study: Path, *arguments: str) -> None:
    """Run a study from this process, which starts one for each run."""
    load_tool('study/run').main(command(study, '--jobs', '1', *arguments))


def records_of(study: Path) -> dict[str, dict[str, Any]]:
    path = study.parent / 'out.jsonl'
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({record['run'] for record in found}) == len(found)
    return {record['arm']: record for record in found}


def without_times(record: dict[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in record.items() if key not in OF_THE_HOUR}
    curve = found['curve']
    found['curve'] = {key: value for key, value in curve.items() if 'seconds' not in key}
    return found


@pytest.fixture(autouse=True)
def _modules(monkeypatch):
    """The processes import the faults of the tests."""
    monkeypatch.setenv('PYTHONPATH', str(ROOT))


@pytest.fixture(scope='module')
def finished(tmp_path_factory) -> tuple[Path, str]:
    """A study that was run, two runs at a time, and what was said."""
    study = write_study(tmp_path_factory.mktemp('study'))
    process = subprocess.run(
        [sys.executable, 'tools/study/run.py', *command(study, '--jobs', '2')],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return study, process.stdout


def test_every_run_has_a_line(finished):
    study, said = finished
    assert 'tiny: 2 runs, 0 of them finished' in said
    assert '2 at a time, 1 threads each' in said
    assert '2/2' in said
    records = records_of(study)
    assert set(records) == {'baseline', 'hardest'}
    for arm, record in records.items():
        assert record['run'] == f'simsiam-{arm}-e{EPOCHS}-s0'
        assert (record['study'], record['method'], record['seed']) == ('tiny', 'simsiam', 0)
        assert (record['steps'], record['images']) == (STEPS, EPOCHS * IMAGES)
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
        assert len(json.dumps(record)) < 4000
    assert records['baseline']['selection'] is None
    selection = records['hardest']['selection']
    assert selection['epoch'] == [1, 2]
    assert selection['images'] == EPOCHS * IMAGES
    assert sum(selection['pairs'].values()) == pytest.approx(1, abs=1e-3)
    for kept, every, gap in zip(*(selection[f'iou_{n}'] for n in ('kept', 'all', 'gap'))):
        assert gap == pytest.approx(kept - every, abs=2e-4)
    # The same weights before training.
    assert records['baseline']['curve']['knn'][0] == records['hardest']['curve']['knn'][0]
    assert records['baseline']['config_hash'] != records['hardest']['config_hash']


def test_the_numbers_are_those_of_the_log(finished):
    """What MMEngine wrote of the loss, and the revision that git tells."""
    study, _ = finished
    record = records_of(study)['hardest']
    (log,) = (study.parent / 'work').glob('simsiam-hardest-*/*/vis_data/scalars.json')
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
    study, _ = finished
    assert len(list((study.parent / 'work').glob('*/output.log'))) == 2
    assert not list((study.parent / 'work').rglob('*.pth'))


def test_finished_runs_are_not_made_again(finished, capfd):
    study, _ = finished
    before = (study.parent / 'out.jsonl').read_bytes()
    run_here(study)
    assert '2 runs, 2 of them finished' in capfd.readouterr().out
    assert (study.parent / 'out.jsonl').read_bytes() == before
    # With another setting they are other runs.
    run_here(study, '--list', '--cfg-options', 'optim_wrapper.optimizer.lr=0.5')
    said = capfd.readouterr().out
    assert '2 runs, 0 of them finished' in said
    assert (
        '2 lines there are of no run of it, or of other settings, and do not count: '
        'simsiam-baseline-e2-s0, simsiam-hardest-e2-s0'
    ) in said


def test_settings_that_were_changed_meanwhile_are_told(tmp_path, capsys):
    tool = load_tool('study/run')
    job = tool.Job('simsiam-hardest-e2-s0', [], tmp_path / 'output.log')
    progress = tool.Progress(2, lambda _: None)
    progress(job, 0, 3.0)
    assert 'made with other settings' in capsys.readouterr().out
    assert [failed for failed, _ in progress.failed] == [job]


def test_a_network_that_no_model_has_is_refused(tmp_path):
    study = write_study(tmp_path)
    study.write_text(study.read_text().replace('knn=dict(', "knn=dict(network='techer', "))
    with pytest.raises(SystemExit, match=r"run simsiam-baseline-e2-s0: network='techer'"):
        run_here(study)
    assert not (tmp_path / 'work').exists()


def test_a_run_that_was_killed_goes_on(finished, tmp_path, capfd):
    whole = records_of(finished[0])['hardest']
    # In the second epoch.
    study = write_study(tmp_path, arms=('hardest',), after=[STEPS - 1])
    with pytest.raises(SystemExit, match=r'error: 1 of 1 runs failed, the first: simsiam-hardest'):
        run_here(study)
    said = capfd.readouterr().out
    assert 'failed, see' in said
    assert not (tmp_path / 'out.jsonl').exists()
    assert [path.name for path in (tmp_path / 'work').rglob('*.pth')] == ['epoch_1.pth']
    run_here(study, '--keep-checkpoints')
    first = records_of(study)['hardest']
    assert {**without_times(first), 'config_hash': ''} == {
        **without_times(whole),
        'config_hash': '',
    }
    assert 0 < first['curve']['seconds'][1] < first['curve']['seconds'][2]
    # Of both processes, the first of which has begun it.
    assert len(whole['starts']) == 1
    assert len(first['starts']) == 2
    assert first['started'] == first['starts'][0]['started'] <= first['starts'][1]['started']
    assert {start['revision'] for start in first['starts']} == {first['revision']}
    # From the last checkpoint there is nothing to train, and the clocks stand where they stood.
    (tmp_path / 'out.jsonl').unlink()
    run_here(study)
    again = records_of(study)['hardest']
    assert again.pop('starts')[:2] == first.pop('starts')
    assert again == first
    assert not list((tmp_path / 'work').rglob('*.pth'))


def test_what_another_process_is_at_is_passed_over(tmp_path, capfd):
    study = write_study(tmp_path, arms=('hardest',))
    run_here(study, '--list')
    tool = load_tool('study/run')
    args = tool.parse_args(command(study))
    args.list = True
    settings = tool.read_study(str(study), ROOT)
    ((run, digest),) = tool.check_study(settings, args).items()
    folder = tool.run_folder(args.work_dir, run, digest)
    folder.mkdir(parents=True)
    with open(folder / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run_here(study)
    assert 'another process is at it' in capfd.readouterr().out
    assert not (tmp_path / 'out.jsonl').exists()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGHUP])
def test_an_interrupt_ends_the_runs(tmp_path, number):
    study = write_study(tmp_path, arms=('hardest',))
    study.write_text(study.read_text().replace(f"num_samples': {IMAGES}", "num_samples': 4096"))
    process = subprocess.Popen(
        [sys.executable, 'tools/study/run.py', *command(study)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        # What runs in the background, as these tests may, ignores it.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / 'work').glob('*/*/vis_data/config.py')):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(number)
    assert process.wait(60) == 130
    assert 'the same command goes on' in process.stderr.read()
    # Its lock is free: the process is gone.
    (lock,) = (tmp_path / 'work').glob('*/lock')
    with open(lock) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
