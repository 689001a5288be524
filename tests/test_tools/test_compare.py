"""``tools/compare.py`` on work dirs: real ones, and logs written here."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from hvs_mm.reports import draw_curves, make_rows, parse_config, read_runs
from hvs_mm.reports.curves import look
from tests.helpers import tiny, tiny_dino
from tests.helpers.tools import load_tool

ROOT = Path(__file__).parents[2]
BASELINE = {'type': 'SimSiam', 'backbone': {'type': 'ResNet', 'depth': 50}}
HVS = {'type': 'HVSAlgorithm', 'algorithm': BASELINE, 'candidates': [4], 'keep': [2]}


pytestmark = pytest.mark.usefixtures('own_folder')


def compare(*args: Any) -> list[dict[str, str]]:
    """The rows that the tool writes as CSV; empty cells are missing."""
    load_tool('compare').main([*map(str, args), '--csv', 'compare.csv'])
    with open('compare.csv', encoding='utf-8', newline='') as file:
        return [{k: v for k, v in row.items() if v != ''} for row in csv.DictReader(file)]


def notes(capsys: pytest.CaptureFixture) -> list[str]:
    lines = capsys.readouterr().out.splitlines()
    return [line.removeprefix('note: ') for line in lines if line.startswith('note: ')]


def lines_of_epochs(
    epochs: Sequence[int], steps: int = 4, loss: float = 0.0, **scalars: Any
) -> list[dict[str, Any]]:
    """What MMEngine logs if it logs every step; the loss is ``loss`` + epoch + step / 10."""
    return [
        {
            'lr': 0.1,
            'data_time': 0.001,
            'loss': loss + epoch + step / 10,
            'time': 0.5,
            **scalars,
            'epoch': epoch,
            'iter': (epoch - 1) * steps + step,
            'step': (epoch - 1) * steps + step,
        }
        for epoch in epochs
        for step in range(1, steps + 1)
    ]


def knn_line(epoch: int, steps: int = 4, **values: float) -> dict[str, Any]:
    iteration = epoch * steps
    named = {f'knn/top1_{k}': value for k, value in values.items()}
    return {**named, 'knn/top5_k20': 99.0, 'epoch': epoch, 'iter': iteration, 'step': iteration}


def accuracy_line(epoch: int, top1: float) -> dict[str, Any]:
    return {'accuracy/top1': top1, 'accuracy/top5': 99.0, 'data_time': 9.0, 'time': 9.0,
            'step': epoch}  # fmt: skip


def start(
    work_dir: Path,
    records: Sequence[dict[str, Any]] | str,
    stamp: str = '20260101_000000',
    model: dict[str, Any] | None = HVS,
    max_epochs: int = 3,
    **config: Any,
) -> Path:
    """Write what a start of a run leaves in its work dir."""
    folder = work_dir / stamp / 'vis_data'
    folder.mkdir(parents=True)
    if not isinstance(records, str):
        records = ''.join(f'{json.dumps(record)}\n' for record in records)
    for name in (f'{stamp}.json', 'scalars.json'):
        (folder / name).write_text(records)
    config = {'model': model, 'train_cfg': {'max_epochs': max_epochs}, **config}
    text = Config(config).pretty_text
    (folder / 'config.py').write_text(text)
    (work_dir / 'my_config.py').write_text(text)
    return work_dir


def checkpoint(work_dir: Path, epoch: int) -> Path:
    path = work_dir / f'epoch_{epoch}.pth'
    path.touch()
    (work_dir / 'last_checkpoint').write_text(str(path))
    return path


def classifier(start_from: Path | str | None, **backbone: Any) -> dict[str, Any]:
    init = None if start_from is None else {'type': 'Pretrained', 'checkpoint': str(start_from)}
    network = {'type': 'ResNet', 'depth': 50, 'frozen_stages': 4, 'init_cfg': init, **backbone}
    return {'type': 'ImageClassifier', 'backbone': network}


def shapes(split: str, num_samples: int) -> dict[str, Any]:
    return {
        'type': 'ShapesDataset',
        'split': split,
        'num_samples': num_samples,
        'img_size': 32,
        'pipeline': [{'type': 'PackInputs'}],
    }


def rename_start(work_dir: Path, stamp: str) -> None:
    """Let the latest start be one of long ago: the next one could fall into the same second."""
    newest = max(work_dir.glob('*/vis_data')).parent
    (newest / 'vis_data' / f'{newest.name}.json').rename(newest / 'vis_data' / f'{stamp}.json')
    newest.rename(work_dir / stamp)


def test_runs_of_mmengine(tmp_path, capsys):
    pretraining, evaluation = tmp_path / 'hvs', tmp_path / 'linear'
    model = {
        'type': 'HVSAlgorithm',
        'algorithm': tiny.algorithm_config('SimSiam'),
        'candidates': [4],
        'keep': [2],
        'selector': 'random',
    }
    for resume, epochs in ((False, 2), (True, 3)):
        tiny_dino.build_runner(
            pretraining,
            model,
            num_views=(4,),
            batch_size=8,
            num_batches=4,
            max_epochs=epochs,
            hooks=[
                {
                    'type': 'KNNHook',
                    'interval': 1,
                    'k': (5, 20),
                    'queries': shapes('val', 40),
                    'at_start': not resume,
                }
            ],
            default_hooks={'logger': {'type': 'LoggerHook', 'interval': 1}},
            knn_pipeline=[{'type': 'PackInputs'}],
            resume=resume,
        ).train()
        rename_start(pretraining, f'2020010{epochs}_000000')
    loader = {'batch_size': 8, 'num_workers': 0, 'collate_fn': {'type': 'default_collate'}}
    backbone = {
        **model['algorithm']['backbone'],
        'frozen_stages': 4,
        'init_cfg': {
            'type': 'PretrainedBackbone',
            'checkpoint': str(pretraining / 'epoch_3.pth'),
        },
    }
    Runner.from_cfg(
        Config(
            {
                'default_scope': 'mmpretrain',
                'experiment_name': 'linear',
                'model': {
                    'type': 'ImageClassifier',
                    'backbone': backbone,
                    'neck': {'type': 'GlobalAveragePooling'},
                    'head': {'type': 'LinearClsHead', 'num_classes': 10, 'in_channels': 64},
                },
                'data_preprocessor': {'num_classes': 10, 'mean': [127.5] * 3, 'std': [60.0] * 3},
                'train_dataloader': {
                    **loader,
                    'sampler': {'type': 'DefaultSampler', 'shuffle': True},
                    'dataset': shapes('train', 40),
                },
                'val_dataloader': {
                    **loader,
                    'sampler': {'type': 'DefaultSampler', 'shuffle': False},
                    'dataset': shapes('val', 40),
                },
                'val_evaluator': {'type': 'Accuracy', 'topk': (1, 5)},
                'val_cfg': {},
                'train_cfg': {'by_epoch': True, 'max_epochs': 2},
                'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 1.0}},
                'work_dir': str(evaluation),
                'log_level': 'ERROR',
            }
        )
    ).train()

    (row,) = compare(pretraining, evaluation, '--markdown', 'table.md', '--k', 5)
    output = capsys.readouterr().out
    logged = [
        json.loads(line)
        for stamp in ('20200102', '20200103')
        for line in (pretraining / f'{stamp}_000000/vis_data' / f'{stamp}_000000.json')
        .read_text()
        .splitlines()
    ]
    steps = [line for line in logged if 'loss' in line]
    assert [line['iter'] for line in steps] == list(range(1, 13))
    neighbors = {line['epoch']: line['knn/top1_k5'] for line in logged if 'knn/top1_k5' in line}
    assert sorted(neighbors) == [0, 1, 2, 3]
    (log,) = evaluation.glob('*/vis_data/scalars.json')
    accuracies = [
        line['accuracy/top1']
        for line in map(json.loads, log.read_text().splitlines())
        if 'accuracy/top1' in line
    ]
    assert len(accuracies) == 2
    times = [line['time'] for line in steps if line['iter'] not in (1, 9)]
    expected = {
        'run': 'hvs',
        'path': str(pretraining),
        'method': 'SimSiam',
        'selection': 'random 4->2',
        'backbone': 'ResNet-18',
        'done': '3',
        'planned': '3',
        'unit': 'epochs',
        'knn_k': '5',
        'knn_top1': str(neighbors[3]),
        'knn_epoch': '3',
        'linear_top1': str(accuracies[-1]),
        'linear_top1_best': str(max(accuracies)),
        'linear_run': 'linear',
        'seconds_per_step': str(statistics.median(times)),
        'loss': str(steps[-1]['loss']),
    }
    memory = [line['memory'] for line in steps if line.get('memory')]
    if memory:
        expected['memory_mib'] = str(max(memory))
    assert row == expected

    best = f' (best {max(accuracies):.2f})' if max(accuracies) != accuracies[-1] else ''
    cells = [
        'hvs', 'SimSiam', 'random 4->2', 'ResNet-18', '3/3', f'{neighbors[3]:.2f}',
        f'{accuracies[-1]:.2f}{best}', f'{statistics.median(times):.3f}',
        f'{max(memory):.0f}' if memory else '-', f'{steps[-1]["loss"]:.4f}',
    ]  # fmt: skip
    header, marks, line = Path('table.md').read_text().splitlines()
    assert header == (
        '| run | method | selection | backbone | epochs | k-NN top-1 k=5 | linear top-1 | s/step | '
        'memory MiB | loss |'
    )
    assert set(marks) == set('|- :')
    assert line == f'| {" | ".join(cells)} |'
    (shown,) = (text for text in output.splitlines() if text.strip().startswith('hvs'))
    assert shown.split() == ' '.join(cells).split()
    assert output.splitlines()[-3:] == [
        'written: table.md', 'written: compare.csv', 'plot: compare.png',
    ]  # fmt: skip
    assert Path('compare.png').read_bytes().startswith(b'\x89PNG')


def test_command_line(tmp_path, capsys):
    run = start(tmp_path / 'run', [*lines_of_epochs([1, 2]), knn_line(2, k20=43.21)])
    load_tool('compare').main([str(run), '--plot', 'plots/new.svg'])
    output = capsys.readouterr().out.splitlines()
    (line,) = (line for line in output if 'SimSiam' in line)
    assert line.split()[1:] == (
        ['SimSiam', 'hardest', '4->2', 'ResNet-50', '2/3', '43.21', '-', '0.500', '-', '2.4000']
    )
    assert output[-1] == 'plot: plots/new.svg'
    assert '<svg' in Path('plots/new.svg').read_text()


def test_a_resumed_run_continues_where_it_was_resumed(tmp_path):
    run = tmp_path / 'run'
    # Stopped in epoch 3, resumed from the checkpoint of epoch 2, logged half as often.
    first = [*lines_of_epochs([1, 2]), knn_line(2, k20=20.0), *lines_of_epochs([3])[:2]]
    second = [*lines_of_epochs([3], loss=100.0)[1::2], knn_line(3, k20=30.0)]
    start(run, second, '20260102_000000', max_epochs=5)
    start(run, first, '20260101_000000')
    checkpoint(run, 2)
    (row,) = compare(run)
    assert (row['done'], row['planned']) == ('3', '5')
    assert float(row['loss']) == pytest.approx(103.4)
    (result,) = read_runs([run])
    # Epoch 3 of the first start was trained again.
    assert [record.iteration for record in result.log.train] == [*range(1, 9), 10, 12]
    assert result.loss_by_epoch()[3] == pytest.approx((103.2 + 103.4) / 2)
    assert result.knn == {20: {2: 20.0, 3: 30.0}}


def test_results_of_epochs_that_are_trained_again_are_dropped(tmp_path):
    run = tmp_path / 'run'
    first = [*lines_of_epochs([1, 2, 3]), *(knn_line(e, k20=10.0 * e) for e in (1, 2, 3))]
    first += [accuracy_line(epoch, 10.0 * epoch) for epoch in (1, 2, 3)]
    start(run, first, '20260101_000000')
    start(run, lines_of_epochs([3])[:1], '20260102_000000')
    (result,) = read_runs([run])
    assert result.knn == {20: {1: 10.0, 2: 20.0}}
    assert result.accuracies() == {1: 10.0, 2: 20.0}
    assert result.done == 2


def test_a_run_that_starts_again_replaces_the_one_before(tmp_path, capsys):
    run = tmp_path / 'run'
    old = [knn_line(0, k20=5.0), *lines_of_epochs([1, 2, 3]), knn_line(3, k20=90.0)]
    start(run, old, '20260101_000000', {**HVS, 'selector': 'random'})
    start(run, lines_of_epochs([1, 2], loss=50.0), '20260102_000000', max_epochs=9)
    checkpoint(run, 3)
    write_knn(run, 3, {'20': 90.0})
    (row,) = compare(run)
    assert (row['done'], row['planned'], row['selection']) == ('1', '9', 'hardest 4->2')
    assert float(row['loss']) == pytest.approx(52.4)
    assert 'knn_top1' not in row
    # One that has not logged yet leaves what there was.
    start(run, '', '20260103_000000', max_epochs=11)
    (row,) = compare(run)
    assert (row['done'], row['planned']) == ('1', '9')
    assert notes(capsys) == []


def write_knn(run: Path, epoch: int | None, top1: dict[str, float], **content: Any) -> Path:
    """As tools/eval_knn.py does."""
    path = run / f'knn_epoch_{epoch}{"_student" if content else ""}.json'
    accuracies = {k: {'top1': value, 'top5': 99.0} for k, value in top1.items()}
    text = {'checkpoint': f'epoch_{epoch}.pth', 'epoch': epoch, 'network': 'teacher',
            'temperature': 0.07, 'num_bank': 10, 'num_queries': 5, 'k': accuracies}  # fmt: skip
    path.write_text(json.dumps({**text, **content}))
    return path


def test_knn_accuracies_of_files(tmp_path, capsys):
    run = start(tmp_path / 'run', [*lines_of_epochs([1, 2, 3]), knn_line(1, k20=1.0, k10=1.5)])
    write_knn(run, 2, {'20': 2.0, '200': 2.5})
    (row,) = compare(run)
    assert (row['knn_top1'], row['knn_epoch'], row['done']) == ('2.0', '2', '2')
    # The student's is not the number of the run, and a file is newer than the log.
    write_knn(run, 3, {'20': 70.0}, network='student')
    write_knn(run, 1, {'20': 10.0})
    (result,) = read_runs([run])
    assert result.knn == {20: {1: 10.0, 2: 2.0}, 10: {1: 1.5}, 200: {2: 2.5}}
    capsys.readouterr()
    assert 'knn_top1' not in compare(run, '--k', 7)[0]
    assert notes(capsys) == [
        'run: its k-NN accuracy was measured with k = 10, 20, 200, not 7: see --k.'
    ]


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        ('{"k": {"20": {"to', 'Unterminated string'),
        ('[]', 'no result of tools/eval_knn.py'),
        ('{"k": 3}', 'no result of tools/eval_knn.py'),
        ('{"k": {"20": {"top1": 50.0}}, "epoch": null}', 'does not say after which epoch'),
        ('{"k": {"many": {"top1": 50.0}}, "epoch": 1}', 'invalid literal'),
    ],
)
def test_other_files_are_reported(content, reason, tmp_path, capsys):
    run = start(tmp_path / 'run', [*lines_of_epochs([1]), knn_line(1, k20=1.0)])
    (run / 'knn_epoch_1.json').write_text(content)
    assert compare(run)[0]['knn_top1'] == '1.0'
    (note,) = notes(capsys)
    assert note.startswith('run: knn_epoch_1.json is left out: ')
    assert reason in note


def test_a_run_that_is_still_running(tmp_path, capsys):
    text = ''.join(f'{json.dumps(line)}\n' for line in lines_of_epochs([1, 2]))
    run = start(tmp_path / 'run', text + '{"lr": 0.1, "loss": 77.0, "epo')
    checkpoint(run, 1)
    (row,) = compare(run)
    assert (row['done'], row['planned']) == ('1', '3')
    assert float(row['loss']) == pytest.approx(2.4)
    assert notes(capsys) == []


def test_broken_lines_are_reported(tmp_path, capsys):
    first, second, *rest = (json.dumps(line) for line in lines_of_epochs([1]))
    run = start(tmp_path / 'run', '\n'.join([first, second[:20], '5', '', *rest, '']))
    scalars = run / '20260101_000000/vis_data/scalars.json'
    scalars.write_bytes(scalars.read_bytes() + b'\xff\xfe\x00\n{"loss": 9')
    (row,) = compare(run)
    assert float(row['loss']) == pytest.approx(1.4)
    assert notes(capsys) == [
        'run: 3 unreadable line(s) of 20260101_000000/vis_data/scalars.json are left out.'
    ]


def test_values_of_other_types_are_missing(tmp_path):
    lines = lines_of_epochs([1])
    lines[-1] |= {'loss': 'high', 'time': None, 'memory': [1]}
    lines += [{'iter': math.nan, 'loss': 9.0}, {'iter': 5, 'epoch': 'two', 'loss': False}]
    lines += [{'step': math.inf, 'accuracy/top1': 1.0}, {'step': True, 'knn/top1_k20': 1.0}]
    (row,) = compare(start(tmp_path / 'run', lines))
    assert float(row['loss']) == pytest.approx(1.3)
    assert row['seconds_per_step'] == '0.5'
    assert 'memory_mib' not in row


def test_runs_of_which_little_is_there(tmp_path, capsys):
    empty = start(tmp_path / 'empty', '')
    only_checkpoint = tmp_path / 'checkpoint'
    only_checkpoint.mkdir()
    checkpoint(only_checkpoint, 7)
    cut = start(tmp_path / 'cut', lines_of_epochs([1, 2]))
    config = cut / '20260101_000000/vis_data/config.py'
    text = config.read_text()
    # In the middle of an assignment, wherever the lines end.
    config.write_text(text[: text.rindex('=') + 1])
    rows = compare(empty, only_checkpoint, cut, '--markdown', 'table.md')
    assert [row.get('done') for row in rows] == [None, '7', '1']
    lines = Path('table.md').read_text().splitlines()[2:]
    assert lines == [
        '| empty | SimSiam | hardest 4->2 | ResNet-50 | -/3 | - | - | - | - | - |',
        '| checkpoint | - | - | - | 7/- | - | - | - | - | - |',
        '| cut | - | - | - | 1/- | - | - | 0.500 | - | 2.4000 |',
    ]
    assert [note.partition(':')[0] for note in notes(capsys)] == ['checkpoint', 'cut']
    # Of nothing there is no plot.
    Path('compare.png').unlink()
    compare(empty)
    assert notes(capsys) == ['there is nothing to plot yet.']
    assert not Path('compare.png').exists()


def test_time_and_memory(tmp_path):
    lines = lines_of_epochs([1, 2])
    for line, seconds, memory in zip(lines, (9, 1, 2, 3, 8, 4, 5, 6), (10, 7, 30, 4, 5, 6, 7, 8)):
        line |= {'time': seconds, 'memory': memory}
    run = start(tmp_path / 'whole', lines)
    (row,) = compare(run)
    assert float(row['seconds_per_step']) == statistics.median([1, 2, 3, 8, 4, 5, 6])
    assert row['memory_mib'] == '30'
    # The first iteration after each start is not counted.
    start(tmp_path / 'parts', lines[:4], '20260101_000000')
    run = start(tmp_path / 'parts', lines[4:], '20260102_000000')
    assert float(compare(run)[0]['seconds_per_step']) == statistics.median([1, 2, 3, 4, 5, 6])
    # Unless there is no other.
    (row,) = compare(start(tmp_path / 'one', lines[:1]))
    assert row['seconds_per_step'] == '9'


def test_a_loss_that_is_not_finite_is_shown(tmp_path):
    lines = lines_of_epochs([1])
    lines[-1]['loss'] = math.nan
    (row,) = compare(start(tmp_path / 'run', lines), '--markdown', 'table.md')
    assert row['loss'] == 'nan'
    assert '| nan |' in Path('table.md').read_text()


def test_a_run_that_counts_iterations(tmp_path):
    lines = [{**line, 'epoch': 0} for line in lines_of_epochs([1, 2])]
    for line in lines:
        del line['epoch']
    run = start(tmp_path / 'run', lines[:5], train_cfg={'by_epoch': False, 'max_iters': 20})
    start(run, lines[3:], '20260102_000000', train_cfg={'by_epoch': False, 'max_iters': 30})
    (run / 'iter_8.pth').touch()
    (row,) = compare(run, '--markdown', 'table.md')
    assert (row['done'], row['planned'], row['unit']) == ('8', '30', 'iterations')
    assert '| 8/30 iterations |' in Path('table.md').read_text()
    assert len(read_runs([run])[0].log.train) == 8


@pytest.mark.parametrize('is_relative', [False, True])
@pytest.mark.parametrize('is_first', [False, True])
def test_a_linear_evaluation_stands_beside_its_pretraining(
    is_first, is_relative, tmp_path, capsys, monkeypatch
):
    pretraining = start(tmp_path / 'runs' / 'hvs', lines_of_epochs([1, 2, 3]))
    other = start(tmp_path / 'runs' / 'base', lines_of_epochs([1]), model=BASELINE)
    path = checkpoint(pretraining, 3)
    monkeypatch.chdir(tmp_path)
    if is_relative:
        (tmp_path / 'link').symlink_to(tmp_path / 'runs')
        path = 'link/hvs/epoch_3.pth'
    records = [accuracy_line(1, 60.0), accuracy_line(2, 62.5), accuracy_line(3, 61.0)]
    evaluation = start(tmp_path / 'runs' / 'lin', records, model=classifier(path))
    runs = [evaluation, pretraining, other] if is_first else [pretraining, other, evaluation]
    rows = compare(*runs, '--markdown', 'table.md')
    assert [row['run'] for row in rows] == ['hvs', 'base']
    assert (rows[0]['linear_top1'], rows[0]['linear_top1_best']) == ('61.0', '62.5')
    assert rows[0]['linear_run'] == 'lin'
    assert 'linear_top1' not in rows[1]
    assert '| 61.00 (best 62.50) |' in Path('table.md').read_text()
    assert notes(capsys) == []


def test_a_linear_evaluation_that_was_resumed(tmp_path):
    pretraining = start(tmp_path / 'hvs', lines_of_epochs([1]))
    path = checkpoint(pretraining, 1)
    run = start(tmp_path / 'lin', [*lines_of_epochs([1]), accuracy_line(1, 50.0)],
                model=classifier(path))  # fmt: skip
    # With what it started from gone, tools/train.py drops it from the config.
    records = [*lines_of_epochs([2]), accuracy_line(2, 55.0)]
    itself = {'resume': True, 'load_from': str(checkpoint(run, 1))}
    start(run, records, '20260102_000000', model=classifier(None), **itself)
    (row,) = compare(pretraining, run)
    assert (row['linear_top1'], row['linear_run']) == ('55.0', 'lin')


def test_a_linear_evaluation_that_loads_the_whole_checkpoint(tmp_path):
    pretraining = start(tmp_path / 'hvs', lines_of_epochs([1]))
    path = str(checkpoint(pretraining, 1))
    run = start(tmp_path / 'lin', [accuracy_line(1, 50.0)], model=classifier(None), load_from=path)
    (row,) = compare(pretraining, run)
    assert row['linear_top1'] == '50.0'


def test_linear_evaluations_in_rows_of_their_own(tmp_path, capsys):
    pretraining = start(tmp_path / 'hvs', lines_of_epochs([1, 2]))
    path = checkpoint(pretraining, 2)
    one = start(tmp_path / 'one', [accuracy_line(1, 60.0)], model=classifier(path))
    two = start(tmp_path / 'two', [accuracy_line(1, 65.0)], model=classifier(path))
    rows = compare(pretraining, one, two)
    assert [row['run'] for row in rows] == ['hvs', 'one', 'two']
    assert [row.get('linear_top1') for row in rows] == [None, '60.0', '65.0']
    assert [row['method'] for row in rows] == ['SimSiam', 'linear', 'linear']
    assert notes(capsys) == ['hvs: it has 2 linear evaluations, each in a row of its own.']
    # Of random weights, of a run that is not given, of a file of another place.
    for start_from in (None, tmp_path / 'absent/epoch_1.pth', 'https://host/hvs/epoch_2.pth'):
        run = start(tmp_path / f'{start_from!s:.4}'.replace('/', '_'), [accuracy_line(1, 60.0)],
                    model=classifier(start_from))  # fmt: skip
        assert [row.get('linear_top1') for row in compare(run, pretraining)] == ['60.0', None]


@pytest.mark.parametrize(
    ('backbone', 'is_linear'),
    [
        ({'frozen_stages': 4}, True),
        ({'frozen_stages': 3}, False),
        ({'frozen_stages': 3, 'num_stages': 3}, True),
        ({'frozen_stages': -1}, False),
        ({'type': 'VisionTransformer', 'depth': None, 'frozen_stages': 12, 'arch': 'b'}, True),
        ({'type': 'VisionTransformer', 'depth': None, 'frozen_stages': 2,
          'arch': {'num_layers': 3}}, False),
        ({'type': 'VisionTransformer', 'depth': None, 'frozen_stages': 3,
          'arch': {'num_layers': 3}}, True),
        ({'type': 'mmpretrain.LastLayersVisionTransformer', 'depth': None, 'frozen_stages': -1,
          'arch': 'deit-small'}, True),
        ({'init_cfg': [{'type': 'Constant'}, {'type': 'Pretrained', 'checkpoint': 'PATH'}]}, True),
    ],
)  # fmt: skip
def test_fine_tuning_is_no_linear_evaluation(backbone, is_linear, tmp_path):
    pretraining = start(tmp_path / 'hvs', lines_of_epochs([1]))
    path = str(checkpoint(pretraining, 1))
    model = json.loads(json.dumps(classifier(path, **backbone)).replace('PATH', path))
    if model['backbone']['depth'] is None:
        del model['backbone']['depth']
    run = start(tmp_path / 'run', [accuracy_line(1, 60.0), accuracy_line(2, 50.0)], model=model)
    rows = compare(pretraining, run, '--markdown', 'table.md')
    if is_linear:
        assert [row.get('linear_top1') for row in rows] == ['50.0']
        assert 'fine-tuned' not in Path('table.md').read_text()
    else:
        assert [row.get('fine_tuned_top1') for row in rows] == [None, '50.0']
        assert rows[1]['method'] == 'fine-tuning'
        assert 'selection' not in rows[1]
        assert '| linear top-1 | fine-tuned top-1 |' in Path('table.md').read_text()


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        (None, 'none'),
        ({}, 'hardest 4->2'),
        ({'selector': 'random'}, 'random 4->2'),
        ({'selector': {'type': 'easiest'}}, 'easiest 4->2'),
        (
            {'candidates': [2, 2, 16], 'keep': (1, 1, 8),
             'selector': {'type': 'hardest', 'max_comparisons': 128}},
            'hardest 2+2+16->1+1+8, of 128 combinations',
        ),
        (
            {'selector': {'type': 'softened', 'temperature': 0.5}},
            'softened 4->2, temperature=0.5',
        ),
        (
            {'selector': {'type': 'per_group', 'global_crops': {'type': 'quantile', 'quantile': 1},
                          'local_crops': 'random'}},
            'per_group 4->2, global_crops=quantile, local_crops=random',
        ),
        ({'candidates': [2]}, 'none, 2->2'),
    ],
)  # fmt: skip
def test_selection(settings, expected, tmp_path):
    model = BASELINE if settings is None else {**HVS, **settings}
    assert compare(start(tmp_path / 'run', '', model=model))[0]['selection'] == expected


@pytest.mark.parametrize(
    ('backbone', 'expected'),
    [
        ({'type': 'ResNet', 'depth': 18}, 'ResNet-18'),
        ({'type': 'mmpretrain.ResNet', 'depth': 50}, 'ResNet-50'),
        ({'type': 'MaskedVisionTransformer', 'arch': 'b', 'patch_size': 16}, 'ViT b/16'),
        (
            {'type': 'VisionTransformer', 'arch': {'embed_dims': 96, 'num_layers': 4}},
            'ViT 96x4',
        ),
        ({'type': 'SwinTransformer', 'arch': 'tiny'}, 'SwinTransformer tiny'),
        ({'type': 'MobileNetV2'}, 'MobileNetV2'),
    ],
)
def test_backbone(backbone, expected, tmp_path):
    model = {'type': 'mmpretrain.BYOL', 'backbone': backbone}
    (row,) = compare(start(tmp_path / 'run', '', model=model))
    assert (row['backbone'], row['method']) == (expected, 'BYOL')


def test_names_tell_runs_apart(tmp_path):
    runs = [start(tmp_path / name, '') for name in ('a/x/run', 'b/x/run', 'b/y|z', 'run')]
    rows = compare(*runs, '--markdown', 'table.md')
    assert [row['run'] for row in rows] == [
        'a/x/run', 'b/x/run', 'y|z', f'{tmp_path.name}/run',
    ]  # fmt: skip
    assert '\n| y\\|z | SimSiam |' in Path('table.md').read_text()
    # As seen from inside of it, a run has a name, too.
    os.chdir(runs[1])
    assert compare('.')[0]['run'] == 'run'


def test_configs_are_read_and_never_run(tmp_path):
    run = start(tmp_path / 'run', '')
    text = f"""
import os
os.system('touch {tmp_path}/imported')
model = dict(type='SimSiam', backbone=dict(type='ResNet', depth=__import__('os').system(
    'touch {tmp_path}/called')))
train_cfg = dict(max_epochs=[open('{tmp_path}/opened', 'w') for _ in '1'][0])
"""
    for path in run.rglob('*.py'):
        path.write_text(text)
    (row,) = compare(run)
    assert row['method'] == 'SimSiam'
    assert row['backbone'].startswith('ResNet-__import__')
    assert 'planned' not in row
    assert sorted(path.name for path in tmp_path.iterdir()) == ['run']


@pytest.mark.parametrize('name', ['hvs_simsiam_100e.py', 'hvs_ibot_300e.py', 'demo/hvs_dino.py'])
def test_what_mmengine_dumps_is_read(name):
    config = Config.fromfile(ROOT / 'configs' / name)
    assert parse_config(config.pretty_text) == config.to_dict()


def test_texts_that_mmengine_seldom_dumps():
    config = {
        'a': {'not-a-name': {'x': (1, -2.5)}, 'y': [None, True, 'text', {'type': 'A'}]},
        'b': [],
        'c': {},
        'd': (),
        'e': ({'type': 'B'}, 1),
    }
    assert parse_config(Config(config).pretty_text) == config
    assert parse_config('a = 1 + 1\nb = [inf, f(2)]\na.b = 3\nc: int = 4\nd = {**a}\n') == {
        'a': '1 + 1',
        'b': ['inf', 'f(2)'],
        'd': '{**a}',
    }
    for text in ('a = dict(', 'a = 1\n  b = 2', 'a\x00b', '(' * 500):
        with pytest.raises(ValueError, match='the config is no Python that MMEngine wrote'):
            parse_config(text)


def panels_of(figure) -> dict[str, list[str]]:
    return {
        axes.get_ylabel(): [line.get_label() for line in axes.get_lines()] for axes in figure.axes
    }


def test_plot_of_knn_accuracies_and_losses(tmp_path):
    runs = [
        start(tmp_path / 'a', [*lines_of_epochs([1, 2]), knn_line(2, k20=40.0),
                               knn_line(1, k20=30.0)]),
        start(tmp_path / 'b', lines_of_epochs([1, 2])),
        start(tmp_path / 'c', ''),
        start(tmp_path / 'd', [*lines_of_epochs([1]), knn_line(0, k20=9.0), knn_line(1, k20=8.0)]),
    ]  # fmt: skip
    figure = draw_curves(read_runs(runs), 20)
    accuracy, loss = 'k-NN top-1 accuracy, k=20 (%)', 'training loss, mean of the epoch'
    assert panels_of(figure) == {accuracy: ['a', 'd'], loss: ['b']}
    assert [axes.get_xlabel() for axes in figure.axes] == ['epoch', 'epoch']
    (first, second), (third,) = (axes.get_lines() for axes in figure.axes)
    assert [list(xy) for xy in first.get_xydata()] == [[1, 30.0], [2, 40.0]]
    assert [list(xy) for xy in second.get_xydata()] == [[0, 9.0], [1, 8.0]]
    assert third.get_ydata() == pytest.approx([1.25, 2.25])
    # By the place of a run among all of them, as in the report: the third has no line.
    colors = [line.get_color() for line in (first, third, second)]
    assert colors == [look(position)['color'] for position in (0, 1, 3)]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ['a', 'b', 'd']
    # No run has been evaluated with this k.
    assert panels_of(draw_curves(read_runs(runs), 7)) == {loss: ['a', 'b', 'd']}


@pytest.mark.parametrize('number', [1, 10, 30])
def test_every_run_has_a_line_of_its_own(number, tmp_path):
    runs = [start(tmp_path / f'run_{i}', lines_of_epochs([1, 2])) for i in range(number)]
    figure = draw_curves(read_runs(runs), 20)
    lines = figure.axes[0].get_lines()
    # In black and white, too, as far as there are as many markers and dashes.
    looks = {(line.get_marker(), line.get_linestyle()) for line in lines}
    if number < 28:
        assert len(looks) == number
    assert len({(line.get_color(), *look) for line in lines for look in looks}) >= number
    # Nothing is cut off, and the legend leaves the lines alone.
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    width, height = figure.get_size_inches() * figure.dpi
    assert 0 <= legend.x0 < legend.x1 <= width
    assert 0 <= legend.y0 < legend.y1 <= figure.axes[0].get_tightbbox().y0 + 1 < height


def refused(*args: Any) -> str:
    with pytest.raises(SystemExit) as info:
        load_tool('compare').main([str(arg) for arg in args])
    message = str(info.value)
    assert message.startswith('error: ')
    assert '\n' not in message
    assert not Path('compare.png').exists()
    return message


def test_folders_that_are_no_runs(tmp_path):
    run = start(tmp_path / 'run', lines_of_epochs([1]))
    assert f"run '{tmp_path}/none' does not exist" in refused(run, tmp_path / 'none')
    assert 'is a file, not a folder' in refused(run / 'my_config.py')
    assert 'is no work dir of MMEngine' in refused(tmp_path, run)
    message = refused(run / '20260101_000000')
    assert re.search(r'is one start of a run. Name the work dir', message)
    assert f"'{run}/' is given twice" in refused(run, f'{run}/')


def test_settings_out_of_range(tmp_path, capsys):
    run = start(tmp_path / 'run', lines_of_epochs([1]))
    assert '--k 0: it takes at least 1 neighbor' in refused(run, '--k', 0)
    message = refused(run, '--plot', 'compare.docx')
    assert message == 'error: --plot compare.docx: its name must end in .png, .pdf, .svg.'
    (tmp_path / 'file').touch()
    assert 'File exists' in refused(run, '--csv', tmp_path / 'file/out.csv')


def test_rows_are_told_from_python(tmp_path):
    run = start(tmp_path / 'run', [*lines_of_epochs([1]), knn_line(1, k20=1.0)])
    (row,), found = make_rows(read_runs([str(run)]), k=20)
    assert (row['knn_top1'], row['knn_epoch'], found) == (1.0, 1, [])
