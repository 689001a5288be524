"""``tools/study/report.py``, on lines that nobody has measured."""

from __future__ import annotations

import json
import re
from math import sqrt
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from hvs_study.page import fill_page
from hvs_study.schema import StudyError
from tests.helpers.studies import made_up, write_lines
from tests.helpers.tools import ROOT, load_tool

#: Pages with tables and plots that must be what their lines give.
PAGES = [
    ROOT / 'tests' / 'test_tools' / 'test_study' / 'data' / 'page.md',
    *(
        path
        for path in (ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md')))
        if '\n<!-- study:' in path.read_text(encoding='utf-8')
    ),
]

BASE = {0: 60.0, 1: 62.0, 2: 64.0}
HARD = {0: 61.0, 1: 65.0, 2: 69.0}


def lines() -> list[dict[str, Any]]:
    """Differences of 1, 3 and 5 points; twice the time."""
    found = [made_up('baseline', seed, knn) for seed, knn in BASE.items()]
    found += [
        made_up('hardest', seed, knn, cpu=20.0, gaps=[-0.01 * (seed + 1), -0.02, -0.03])
        for seed, knn in HARD.items()
    ]
    # Twice as long, and of a seed that no other has.
    found += [made_up('baseline', seed, 63.0, cpu=20.0, epochs=6) for seed in (0, 1, 5)]
    found += [made_up('baseline', 0, 40.0, method='dino')]
    return found


def page_with(folder: Path, *blocks: dict[str, Any] | str, records: Any = None) -> Path:
    write_lines(folder / 'results' / 'x.jsonl', lines() if records is None else records)
    path = folder / 'page.md'
    texts = [block if isinstance(block, str) else json.dumps(block) for block in blocks]
    path.write_text(
        '# By hand\n\n' + '\n'.join(f'<!-- study: {text} -->\n<!-- end -->\n' for text in texts)
    )
    return path


def block(**settings: Any) -> dict[str, Any]:
    return {'lines': 'results/x.jsonl', **settings}


def rows_of(path: Path) -> list[list[str]]:
    """The cells of the tables of a filled page."""
    load_tool('study/report').main([str(path)])
    table = [line for line in path.read_text().splitlines() if line.startswith('|')]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in table]


def test_accuracy(tmp_path):
    _, _, *rows = rows_of(page_with(tmp_path, block(table='accuracy')))
    # Deviations of 2 and 4 over three seeds.
    zero, two, four = (f'± {n / sqrt(3):.2f}' for n in (0, 2, 4))
    assert rows == [
        [
            'simsiam', 'baseline', '3', '3', f'20.00 {zero}', f'62.00 {two}', f'63.00 {two}',
            '20.0 ± 0.0', '1.00',
        ],
        [
            'simsiam', 'baseline', '6', '3', f'20.00 {zero}', f'63.00 {zero}', f'64.00 {zero}',
            '40.0 ± 0.0', '1.00',
        ],
        [
            'simsiam', 'hardest', '3', '3', f'20.00 {zero}', f'65.00 {four}', f'66.00 {four}',
            '40.0 ± 0.0', '2.00',
        ],
        ['dino', 'baseline', '3', '1', '20.00', '40.00', '41.00', '20.0', '1.00'],
    ]  # fmt: skip


def test_accuracy_before_training(tmp_path):
    records = [made_up('baseline', seed, 60.0) for seed in (0, 1)]
    for record, before in zip(records, (24.0, 26.0)):
        record['curve']['knn'][0] = before
    path = page_with(tmp_path, block(table='accuracy'), records=records)
    assert rows_of(path)[2][4] == '25.00 ± 1.00'
    for record in records:
        record['curve']['epoch'][0] = 1
    path = page_with(tmp_path, block(table='accuracy'), records=records)
    assert rows_of(path)[2][4] == '-'


def test_differences(tmp_path):
    pairs = [
        dict(arm='hardest', minus='baseline', epochs=3, minus_epochs=3),
        dict(arm='hardest', minus='baseline', minus_epochs=6),
        dict(arm='baseline', minus='hardest', epochs=3),
    ]
    path = page_with(tmp_path, block(table='differences', methods=['simsiam'], pairs=pairs))
    _, _, *rows = rows_of(path)
    # Of 1, 3, 5: a mean of 3, a standard error of 2 / sqrt(3), and 4.30265 of them.
    low, high = 3 - 4.302653 * 2 / sqrt(3), 3 + 4.302653 * 2 / sqrt(3)
    equal = f'+3.00 ({low:+.2f} to {high:+.2f})'
    assert rows[0] == [
        'simsiam', 'hardest (3 epochs) - baseline (3 epochs)', '3', equal, equal, '2.00'
    ]  # fmt: skip
    # Of -2 and 2, and 12.7062.
    time = f'+0.00 ({-12.7062 * 2:+.2f} to {12.7062 * 2:+.2f})'
    assert rows[1] == [
        'simsiam', 'hardest (3 epochs) - baseline (6 epochs)', '2', time, time, '1.00'
    ]  # fmt: skip
    assert rows[2][3] == f'-3.00 ({-high:+.2f} to {-low:+.2f})'
    assert rows[2][5] == '0.50'
    assert (
        'Note: simsiam, hardest (3 epochs) - baseline (6 epochs): without seeds that one of both '
        'lacks, 2, 5.\n'
    ) in path.read_text()


def test_accuracies_on_other_images(tmp_path):
    records = [{**line, 'transfer': {'cells': 2 * line['knn']}} for line in lines()]
    records[0]['transfer']['rare'] = 1.0
    pairs = [dict(arm='hardest', minus='baseline', epochs=3, minus_epochs=3, methods=['simsiam'])]
    shown = [block(table='accuracy'), block(table='differences', pairs=pairs)]
    rows = rows_of(page_with(tmp_path, *shown, records=records))
    # Those that only some runs have are left out.
    assert rows[0][7:] == ['linear on cells %', 'training s', 'CPU time']
    assert rows[2][7] == f'124.00 ± {4 / sqrt(3):.2f}'
    (head, _, row) = rows[-3:]
    assert head[5:] == ['linear points on cells', 'CPU time']
    assert row[5].startswith('+6.00 (')


def test_what_was_gained_after_an_epoch(tmp_path):
    records = [made_up('baseline', seed, 60.0) for seed in (0, 1)]
    records += [made_up('late', seed, knn) for seed, knn in ((0, 63.0), (1, 67.0))]
    for record, after in zip(records, (50.0, 52.0, 51.0, 51.0)):
        record['curve']['knn'] = [20.0, after, 59.0, record['knn']]
    pairs = [dict(arm='late', minus='baseline', since=epoch) for epoch in (1, 3)]
    path = page_with(tmp_path, block(table='differences', pairs=pairs), records=records)
    _, _, *rows = rows_of(path)
    # 12 - 10 and 16 - 8, and 12.7062 times half of what they differ by.
    assert rows[0] == [
        'simsiam', 'late - baseline, gained after epoch 1', '2',
        f'+5.00 ({5 - 12.7062 * 3:+.2f} to {5 + 12.7062 * 3:+.2f})', '-', '1.00',
    ]  # fmt: skip
    assert rows[1][3] == '+0.00 (+0.00 to +0.00)'


def test_pairs_of_some_methods(tmp_path):
    pairs = [
        dict(arm='hardest', minus='baseline', epochs=3, minus_epochs=3, methods=['simsiam']),
        dict(arm='baseline', minus='baseline', epochs=3, minus_epochs=3, methods=['dino']),
    ]
    path = page_with(tmp_path, block(table='differences', pairs=pairs))
    _, _, *rows = rows_of(path)
    assert [row[0] for row in rows] == ['simsiam', 'dino']
    assert 'Note' not in path.read_text()


def test_a_method_that_lacks_an_arm_is_reported(tmp_path):
    pairs = [dict(arm='hardest', minus='baseline')]
    path = page_with(tmp_path, block(table='differences', epochs=[3], pairs=pairs))
    _, _, *rows = rows_of(path)
    assert [row[0] for row in rows] == ['simsiam']
    assert 'Note: dino has no runs of hardest.\n' in path.read_text()


def test_one_seed_has_no_interval(tmp_path):
    records = [made_up('baseline', 0, 60.0), made_up('hardest', 0, 61.0, gaps=[-0.1, 0.0, 0.1])]
    pairs = [dict(arm='hardest', minus='baseline')]
    path = page_with(
        tmp_path,
        block(table='differences', pairs=pairs),
        block(table='accuracy'),
        block(table='selection'),
        block(table='tuning'),
        block(table='provenance'),
        *(
            block(plot=plot, file=f'{plot}.svg')
            for plot in ('accuracy_over_epochs', 'accuracy_over_time', 'iou_over_epochs')
        ),
        records=records,
    )
    rows = rows_of(path)
    assert rows[2] == ['simsiam', 'hardest - baseline', '1', '+1.00 (-)', '+1.00 (-)', '1.00']
    assert rows[5] == ['simsiam', 'baseline', '3', '1', '20.00', '60.00', '61.00', '20.0', '1.00']


def test_tuning(tmp_path):
    path = page_with(tmp_path, block(table='tuning', methods=['simsiam'], epochs=[3]))
    _, _, *rows = rows_of(path)
    assert [(row[1], row[-1]) for row in rows] == [('hardest', 'yes'), ('baseline', '')]
    assert 'Note' not in path.read_text()
    path = page_with(tmp_path, block(table='tuning'))
    assert len(rows_of(path)) == 6
    assert 'Note: simsiam: the settings were not run with the same seeds.' in path.read_text()
    assert (
        'Note: simsiam: the settings were not run for the same number of epochs.'
        in path.read_text()
    )


def test_selection(tmp_path):
    _, _, *rows = rows_of(page_with(tmp_path, block(table='selection')))
    # Of -0.01, -0.02, -0.03: a standard error of 0.01 / sqrt(3).
    half = 4.302653 * 0.01 / sqrt(3)
    assert rows == [
        [
            'simsiam', 'hardest', '3', '3', '0.400',
            f'-0.0200 ({-0.02 - half:+.4f} to {-0.02 + half:+.4f})',
            '-0.0200 (-0.0200 to -0.0200)', '-0.0300 (-0.0300 to -0.0300)', '1, 2, 3',
        ]
    ]  # fmt: skip


def test_what_else_was_selected(tmp_path):
    records = lines()[3:6]
    for record, kept in zip(records, (0.2, 0.25, 0.3)):
        record['selection']['masked_kept'] = [kept, 0.2, 0.1]
        record['selection']['masked_all'] = [0.15, 0.15, 0.16]
    blocks = [
        block(table='selection', quantity='masked'),
        block(table='selection', quantity='color'),
    ]
    header, _, masked, _, _, color = rows_of(page_with(tmp_path, *blocks, records=records))
    assert header[4] == 'masked share of all'
    # Of 0.05, 0.1, 0.15: a standard error of 0.05 / sqrt(3).
    half = 4.302653 * 0.05 / sqrt(3)
    assert masked[4:8] == [
        '0.160',
        f'+0.1000 ({0.1 - half:+.4f} to {0.1 + half:+.4f})',
        '+0.0500 (+0.0500 to +0.0500)',
        '-0.0600 (-0.0600 to -0.0600)',
    ]
    assert color[4:8] == ['-'] * 4


def test_selection_that_begins_late(tmp_path):
    records = lines()[3:6]
    for record in records:
        for values in record['selection'].values():
            del values[0]
    del records[0]['selection']['iou_gap'][0], records[0]['selection']['epoch'][0]
    del records[0]['selection']['iou_all'][0], records[0]['selection']['iou_kept'][0]
    path = page_with(tmp_path, block(table='selection'), records=records)
    _, _, *rows = rows_of(path)
    assert rows[0][-1] == '3, 3, 3'
    assert rows[0][5:8] == ['-0.0300 (-0.0300 to -0.0300)'] * 3


def test_selection_without_overlaps(tmp_path):
    """As where fewer than two target views are kept."""
    records = lines()[3:6]
    for record in records:
        record['selection'] = {'epoch': [1, 2, 3], 'color_kept': [0.1, 0.1, 0.1]}
    path = page_with(
        tmp_path,
        block(table='selection'),
        block(plot='iou_over_epochs', file='a.svg'),
        records=records,
    )
    _, _, *rows = rows_of(path)
    assert rows == [['simsiam', 'hardest', '3', '3', '-', '-', '-', '-', '1, 2, 3']]


def test_times_are_given_with_their_range(tmp_path):
    records = [made_up('baseline', seed, 60.0, cpu=10.0) for seed in (0, 1)]
    records += [made_up('hardest', seed, 60.0, cpu=cpu) for seed, cpu in ((0, 15.0), (1, 25.0))]
    pairs = [dict(arm='hardest', minus='baseline')]
    blocks = [block(table='differences', pairs=pairs), block(table='accuracy')]
    rows = rows_of(page_with(tmp_path, *blocks, records=records))
    assert rows[0][-1] == 'CPU time'
    assert rows[2][-1] == '2.00 (1.50 to 2.50)'
    assert rows[-1][-1] == '2.00 (1.50 to 2.50)'
    # On a GPU there is no CPU time that says something.
    for record in records:
        record['cpu_seconds'] = None
    records[0]['seconds'] = 40.0
    records[3]['device'] = 'another'
    path = page_with(tmp_path, *blocks, records=records)
    rows = rows_of(path)
    assert rows[0][-1] == 'time'
    assert rows[2][-1] == f'{80 / 60:.2f} (0.75 to 2.50)'
    assert path.read_text().count('Note: times are of several devices, another, none.\n') == 2


def test_seeds_that_lack_are_reported(tmp_path):
    records = [made_up('baseline', seed, 60.0, planned_seeds=2) for seed in (0, 1)]
    records += [made_up('hardest', seed, 60.0, planned_seeds=3) for seed in (0, 1)]
    pairs = [{'arm': 'hardest', 'minus': 'baseline'}]
    for shown in (block(table='accuracy'), block(table='differences', pairs=pairs)):
        path = page_with(tmp_path, shown, records=records)
        rows_of(path)
        notes = [line for line in path.read_text().split('\n') if line.startswith('Note')]
        assert notes == ['Note: fewer seeds than planned: simsiam hardest (2 of 3).']


def test_times_of_several_machines_are_reported(tmp_path):
    """Of one name they can be of different speed, and a run can go on on another."""
    records = [made_up('baseline', seed, 60.0, starts=[{'machine': 'a'}]) for seed in (0, 1)]
    blocks = [block(table='accuracy')]
    path = page_with(tmp_path, *blocks, records=records)
    rows_of(path)
    assert 'Note' not in path.read_text()
    records[1]['starts'] = [{'machine': 'a'}, {'machine': 'b'}, {'machine': None}, {}]
    path = page_with(tmp_path, *blocks, records=records)
    rows_of(path)
    note = 'Note: times are of 2 machines, or of one that was started again.\n'
    assert path.read_text().count(note) == 1
    # Other devices are other machines.
    records[0]['device'] = 'another'
    path = page_with(tmp_path, *blocks, records=records)
    rows_of(path)
    assert 'several devices' in path.read_text()
    assert note not in path.read_text()


def test_times_are_left_out(tmp_path):
    """Those of different machines say nothing, and neither do notes about them."""
    records = lines()
    records[0]['device'] = 'another'
    pairs = [dict(arm='hardest', minus='baseline', epochs=3, minus_epochs=3)]
    blocks = [
        block(table='differences', methods=['simsiam'], pairs=pairs, times=False),
        block(table='accuracy', methods=['simsiam'], times=False),
    ]
    path = page_with(tmp_path, *blocks, records=records)
    rows = rows_of(path)
    assert rows[0] == ['method', 'difference', 'seeds', 'k-NN points', 'linear points']
    assert rows[3][-3:] == ['untrained k-NN %', 'k-NN %', 'linear %']
    assert [len(row) for row in rows] == [5] * 3 + [7] * 5
    assert 'Note' not in path.read_text()


def test_runs_that_were_resumed_are_reported(tmp_path):
    records = lines()
    records[0]['starts'] = [{'revision': 'b' * 40}, {'revision': 'a' * 40}]
    # Not of this tool.
    records[1]['starts'], records[2]['starts'] = 3, ['x']
    path = page_with(tmp_path, block(table='provenance'), records=records)
    found = {row[0]: row[1] for row in rows_of(path)}
    # Lines of earlier revisions have no such thing.
    assert found['went on after a stop'] == '1 runs, and 9 do not tell'
    assert found['revision'] == 'aaaaaaaaaa (9 runs), bbbbbbbbbb then aaaaaaaaaa (1 runs)'


def test_one_plot_does_not_overwrite_another(tmp_path):
    plots = ('accuracy_over_epochs', 'accuracy_over_time')
    path = page_with(tmp_path, *(block(plot=plot, file='a.svg') for plot in plots))
    with pytest.raises(SystemExit, match=r"file='a\.svg' is that of a plot above"):
        load_tool('study/report').main([str(path)])


def test_a_plot_without_cpu_times_is_over_the_wall_clock(tmp_path):
    found = {}
    for cpu in (10.0, None):
        records = [{**made_up('baseline', 0, 60.0), 'cpu_seconds': cpu}]
        path = page_with(tmp_path, block(plot='accuracy_over_time', file='a.svg'), records=records)
        load_tool('study/report').main([str(path)])
        found[cpu] = (tmp_path / 'a.svg').read_text()
    assert '>CPU time of training (s)<' in found[10.0]
    assert '>time of training (s)<' in found[None]


def test_provenance(tmp_path):
    records = lines()
    records[0]['dirty'] = True
    path = page_with(tmp_path, block(table='provenance'), records=records)
    found = {row[0]: row[1] for row in rows_of(path)}
    assert found['runs'] == '10'
    assert found['revision'] == 'aaaaaaaaaa (9 runs), aaaaaaaaaa with changes (1 runs)'
    assert found['torch'] == '2.10.0'
    assert found['started, UTC'].endswith(' to 2026-01-06T00:00:00+00:00')


def test_plots_of_hardness_and_information(tmp_path, monkeypatch):
    records = lines()[:6]
    for number, record in enumerate(records):
        record['health'] = {'epoch': [0, 3], 'student_information': [0.5, 0.1 * number]}
        if record['selection']:
            record['selection']['hardness'] = [0.4, 0.5, 0.9]
    blocks = [
        block(plot='information_over_epochs', file='a.svg'),
        block(plot='accuracy_over_hardness', file='b.svg'),
    ]
    path = page_with(tmp_path, *blocks, records=records)
    monkeypatch.setattr('hvs_study.plots.Axes.plot', _noted := _NotedPlot())
    fill_page(path)
    drawn = [(one['label'], one['points']) for one in _noted.calls]
    assert drawn == [
        ('baseline', [(0, 0.5), (3, pytest.approx(0.1))]),
        ('hardest', [(0, 0.5), (3, pytest.approx(0.4))]),
        ('baseline', [(0, pytest.approx(63.0))]),
        ('hardest', [(pytest.approx(0.6), pytest.approx(66.0))]),
    ]
    for record in records:
        record.pop('health')
        record['selection'] = record['selection'] and {'epoch': [1], 'iou_gap': [0.1]}
    path = page_with(tmp_path, blocks[0], records=records)
    with pytest.raises(StudyError, match="has 'health': run the study with engine='fast'"):
        fill_page(path)
    path = page_with(tmp_path, blocks[1], records=records)
    with pytest.raises(StudyError, match='revisions that log no hardness'):
        fill_page(path)


def test_plots_have_the_means_and_are_the_same_each_time(tmp_path, monkeypatch):
    blocks = [
        block(plot='accuracy_over_epochs', file='p/a.svg', alt='k-NN'),
        block(plot='accuracy_over_time', file='p/b.svg'),
        block(plot='iou_over_epochs', file='p/c.svg'),
    ]
    path = page_with(tmp_path, *blocks)
    rows_of(path)
    assert '![k-NN](p/a.svg)' in path.read_text()
    first = {name: (tmp_path / 'p' / name).read_bytes() for name in ('a.svg', 'b.svg', 'c.svg')}
    import matplotlib

    # Whatever a user likes better.
    with matplotlib.rc_context({'font.size': 20, 'lines.linewidth': 7, 'svg.fonttype': 'path'}):
        rows_of(path)
    for name, content in first.items():
        assert (tmp_path / 'p' / name).read_bytes() == content
        root = ElementTree.fromstring(content)
        texts = {''.join(node.itertext()) for node in root.iter() if node.tag.endswith('}text')}
        assert {'simsiam'} <= texts
        assert any('hardest' in text for text in texts)
    # In the data of the axes: the line of a mean ends at 3 / 6 of its panel, above the baseline.
    monkeypatch.setattr('hvs_study.plots.Axes.plot', _noted := _NotedPlot())
    fill_page(path)
    drawn = {args['label']: args['points'] for args in _noted.calls[:3]}
    assert drawn['baseline, 3 epochs'][-1] == (3, pytest.approx(62.0))
    assert drawn['hardest, 3 epochs'] == [
        (epoch, pytest.approx(20 + 45 * epoch / 3)) for epoch in range(4)
    ]
    # An arm has its color in all three plots, also where others have nothing to show.
    colors = {(args['label'].split(',')[0], args['color']) for args in _noted.calls}
    assert len([color for arm, color in colors if arm == 'hardest']) == 1


class _NotedPlot:
    """Stands in for ``Axes.plot`` and notes what it is given."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(self, x, y, **style):
        call = {'label': style['label'], 'points': list(zip(x, y)), 'color': style['color']}
        self.calls.append(call)


def test_check_tells_what_differs(tmp_path, capsys):
    report = load_tool('study/report')
    path = page_with(
        tmp_path, block(table='accuracy'), block(plot='accuracy_over_epochs', file='a.svg')
    )
    empty = path.read_bytes()
    with pytest.raises(SystemExit, match=r'block 1 \(accuracy, line 3\), block 2 .*a\.svg'):
        report.main([str(path), '--check'])
    assert path.read_bytes() == empty
    assert not (tmp_path / 'a.svg').exists()
    report.main([str(path)])
    report.main([str(path), '--check'])
    assert 'is what its lines give' in capsys.readouterr().out
    # What is written by hand may change, ...
    path.write_text(path.read_text().replace('By hand', 'By other hands'))
    report.main([str(path), '--check'])
    # ... numbers and plots not, and of other lines come others.
    path.write_text(path.read_text().replace('62.00', '62.01'))
    with pytest.raises(SystemExit, match='block 1') as error:
        report.main([str(path), '--check'])
    assert 'block 2' not in str(error.value)
    report.main([str(path)])
    (tmp_path / 'a.svg').write_text('x')
    with pytest.raises(
        SystemExit, match=r'error: \S*page\.md is not what its lines give: \S*a\.svg'
    ):
        report.main([str(path), '--check'])
    report.main([str(path)])
    write_lines(tmp_path / 'results' / 'x.jsonl', lines()[1:])
    with pytest.raises(SystemExit, match='block 1'):
        report.main([str(path), '--check'])


def test_what_a_report_needs(tmp_path, monkeypatch):
    report = load_tool('study/report')
    monkeypatch.setattr(report, 'find_spec', lambda name: None if name == 'pandas' else name)
    path = page_with(tmp_path, block(table='accuracy'))
    before = path.read_bytes()
    with pytest.raises(SystemExit) as error:
        report.main([str(path)])
    assert str(error.value) == ('error: pandas: not installed, run pip install "hvs-mm[analysis]".')
    assert path.read_bytes() == before


@pytest.mark.parametrize('path', PAGES, ids=lambda path: path.name)
def test_pages_are_what_their_lines_give(path):
    """Bit for bit, plots included."""
    page = fill_page(path)
    assert page.changed == []
    assert page.text == path.read_text()


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{', 'line 3: a block is no JSON'),
        ('[]', 'line 3: a block needs'),
        ('{}', 'line 3: a block needs'),
        (block(table='x'), r"table='x': expected one of \['accuracy'"),
        (block(table=[]), r'table=\[\]: expected one of'),
        (block(plot='accuracy'), r"plot='accuracy': expected one of"),
        ({'table': 'accuracy'}, 'lines is missing; docs/studies.md shows it'),
        (block(table='accuracy', lines=[]), r'lines=\[\]: expected'),
        (block(table='accuracy', lines='no.jsonl'), r'no\.jsonl: there is no such file'),
        (block(table='accuracy', file='x.svg'), r"file='x\.svg': there is no such setting"),
        (block(table='accuracy', arms=['x']), r"arms: there are no runs of 'x'"),
        (block(table='accuracy', arms='baseline'), "arms='baseline': expected a list"),
        (block(table='accuracy', seeds=[0], epochs=[6], arms=['hardest']), 'no runs of 6'),
        (block(table='accuracy', seeds=[0.5]), r'seeds=0\.5: expected a whole number'),
        (block(table='accuracy', lines=3), 'lines=3: expected a list that is not empty'),
        (block(table='accuracy', times='no'), "times='no': expected true or false"),
        (block(table='selection', quantity='hue'), r"quantity='hue': expected one of \['center"),
        (block(table='selection', quantity=[]), r'quantity=\[\]: expected one of'),
        (block(table='tuning', times=False), 'times=False: there is no such setting'),
        (block(table='differences'), 'pairs is missing; docs/studies.md shows it'),
        (block(table='differences', pairs=[{'arm': 'hardest'}]), r'pairs\.0\.minus is missing'),
        (
            block(table='differences', pairs=[dict(arm='hardest', minus='baseline')]),
            r"minus='baseline' has runs of \[3, 6\] epochs: choose with minus_epochs",
        ),
        *(
            (
                block(table='differences', pairs=[dict(arm='hardest', minus='hardest', **pair)]),
                message,
            )
            for pair, message in (
                ({'since': 7}, r'since=7: run simsiam-hardest-e3-s0 has .* epochs \[0, 1, 2, 3\]'),
                ({'since': 'x'}, r"pairs\.0\.since='x': expected a whole number"),
                ({'later': 1}, r'pairs\.0\.later=1: there is no such setting; expected one'),
                ({'methods': 'dino'}, r"pairs\.0\.methods='dino': expected a list"),
                ({'methods': [1]}, r'pairs\.0\.methods=1: expected a text'),
                ({'methods': ['byol']}, "pairs: there are no runs of method 'byol'"),
            )
        ),
        (
            block(table='differences', pairs=[dict(arm='x', minus='baseline')]),
            "arm='x': there are no runs of this arm",
        ),
        (block(plot='accuracy_over_time'), 'file is missing; docs/studies.md shows it'),
        (block(plot='accuracy_over_time', file='x.png'), r"file='x\.png': expected"),
    ],
)
def test_bad_blocks_are_refused(tmp_path, text, message):
    path = page_with(tmp_path, text)
    with pytest.raises(SystemExit, match=message) as error:
        load_tool('study/report').main([str(path)])
    assert str(error.value).startswith(f'error: {path}, line 3: ')


def test_blocks_without_an_end_are_refused(tmp_path):
    path = page_with(tmp_path, block(table='accuracy'), block(table='tuning'))
    text = path.read_text()
    for broken in (text.replace('<!-- end -->', '', 1), text.replace('<!-- end -->', '')):
        path.write_text(broken)
        with pytest.raises(SystemExit, match='must stand on lines of its own and be followed by'):
            load_tool('study/report').main([str(path)])
    path.write_text('nothing')
    with pytest.raises(SystemExit, match='has no block'):
        load_tool('study/report').main([str(path)])
    with pytest.raises(SystemExit, match='does not exist'):
        load_tool('study/report').main([str(tmp_path / 'none.md')])


@pytest.mark.parametrize(
    'changes',
    [
        {'knn': None}, {'knn': '60'}, {'knn': True}, {'knn': 10**400}, {'knn': float('nan')},
        {'linear': 'x'}, {'seed': -1}, {'seed': 1.5}, {'epochs': None}, {'arm': 'a\x1b[31m'},
        {'arm': '<script>'}, {'method': '../x'}, {'curve': None}, {'curve': {}},
        {'curve': {'epoch': [], 'seconds': [], 'cpu_seconds': [], 'knn': []}},
        {'curve': {'epoch': [0], 'seconds': [0], 'cpu_seconds': [0], 'knn': [1, 2]}},
        {'curve': {'epoch': [None], 'seconds': [0], 'cpu_seconds': [0], 'knn': [1]}},
        {'selection': []}, {'selection': {}}, {'selection': {'epoch': [1], 'iou_gap': []}},
        {'selection': {'epoch': [1], 'iou_kept': ['x']}}, {'transfer': [1]},
        {'transfer': {'cells': '60'}}, {'transfer': {'<script>': 60.0}},
    ],
)  # fmt: skip
def test_lines_of_others_are_refused(tmp_path, changes):
    records = [{**made_up('baseline', 0, 60.0), **changes}]
    path = page_with(tmp_path, block(table='accuracy'), records=records)
    with pytest.raises(
        SystemExit, match=f'{next(iter(changes))} of run .* does not write'
    ) as error:
        load_tool('study/report').main([str(path)])
    assert re.fullmatch(r'[^\x00-\x1f]+', str(error.value))


def test_two_lines_of_one_run_are_refused(tmp_path):
    records = [*lines(), {**lines()[0], 'config_hash': 'another'}]
    path = page_with(tmp_path, block(table='accuracy'), records=records)
    with pytest.raises(SystemExit, match='two lines are of run simsiam-baseline-e3-s0'):
        load_tool('study/report').main([str(path)])


def test_text_of_lines_is_no_markup(tmp_path):
    records = [made_up('baseline', 0, 60.0, device='a|b\n<script>\x1b[31m', started=3)]
    records[0]['versions'] = {'x\n': '`'}
    path = page_with(tmp_path, block(table='provenance'), records=records)
    found = rows_of(path)
    assert r'a\|b\\n\<script>\\x1b\[31m' in path.read_text()
    assert all(len(row) == 2 for row in found if 'device' not in row[0])
