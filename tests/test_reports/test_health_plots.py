"""The curves of loss and health, in the report and in the plot of several runs."""

from __future__ import annotations

import json

import pytest

from hvs_mm.reports import (
    draw_curves,
    draw_health_plots,
    draw_selection_plots,
    read_runs,
    selection_html,
    selection_series,
)
from tests.test_tools.test_selection_report import Page, entry, write_run

RANK = 'Effective rank: how many directions matter'


def health(epoch, **numbers):
    named = {f'health/{name}': value for name, value in numbers.items()}
    return {**named, 'epoch': epoch, 'iter': 10 * epoch, 'step': 10 * epoch}


def loss(epoch, value):
    return {'loss': value, 'epoch': epoch, 'iter': 10 * epoch, 'step': 10 * epoch}


def curves(figure):
    (axes,) = figure.axes
    return {
        line.get_label(): (line.get_xydata().tolist(), line.get_color())
        for line in axes.get_lines()
    }


def test_the_curves_are_the_numbers(tmp_path):
    lines = [
        line
        for e in (1, 2)
        for line in (loss(e, 1 / e), health(e, feature_rank=4.0 * e, projection_rank=9.0))
    ]
    runs = read_runs([write_run(tmp_path / 'run', lines)])
    # They are neither iterations of the training nor a validation.
    assert len(runs[0].log.train) == 2
    assert not runs[0].log.validation
    plots = draw_health_plots(runs)
    assert list(plots) == ['Training loss', RANK]
    assert curves(plots['Training loss'])['run'][0] == [[1, 1], [2, 0.5]]
    found = curves(plots[RANK])
    assert found['run: features'][0] == [[1, 4], [2, 8]]
    assert found['run: projections'][0] == [[1, 9], [2, 9]]


def test_a_run_has_one_color(tmp_path):
    """Also where another run has no numbers."""
    nothing = [loss(1, 3.0), loss(2, 2.0)]
    lines = [
        *nothing, health(1, feature_rank=2.0, alignment=1.0), health(2, feature_rank=3.0),
        entry(1, 5, 8, iou_kept=0.1, iou_all=0.2),
    ]  # fmt: skip
    folders = [
        write_run(tmp_path / name, content)
        for name, content in (('a', nothing), ('b', lines), ('c', lines))
    ]
    runs = read_runs(folders)
    plots = draw_health_plots(runs)
    color = {name: curves(plots['Training loss'])[name][1] for name in 'abc'}
    assert len(set(color.values())) == 3
    found = curves(plots[RANK])
    assert {label: c for label, (_, c) in found.items()} == {
        'b: features': color['b'], 'c: features': color['c'],
    }  # fmt: skip

    selection = draw_selection_plots({run.name: selection_series(run) for run in runs})
    found = curves(selection['IoU of the kept crops, and of all'])
    assert {label: c for label, (_, c) in found.items()} == {
        f'{name}: {kind}': color[name] for name in 'bc' for kind in ('kept', 'all')
    }
    figure = draw_curves(runs, 20)
    panels = {axes.get_ylabel(): axes.get_lines() for axes in figure.axes}
    assert list(panels) == ['training loss, mean of the epoch', 'effective rank of the features']
    colors = [{line.get_label(): line.get_color() for line in lines} for lines in panels.values()]
    assert colors[1] == {name: colors[0][name] for name in 'bc'}


def test_numbers_that_are_not_finite_are_left_out(tmp_path):
    lines = [loss(1, 1.0), health(1, feature_rank=float('nan')), health(2, feature_rank=3.0)]
    (run,) = read_runs([write_run(tmp_path / 'run', lines)])
    assert run.health('feature_rank') == {2: 3.0}
    assert run.health('nothing') == {}


def test_a_resumed_run_replaces_what_it_measures_again(tmp_path):
    first = [loss(e, 1.0) for e in (1, 2)] + [health(e, feature_rank=1.0) for e in (1, 2)]
    work_dir = write_run(tmp_path / 'run', first)
    again = work_dir / '20260102_000000' / 'vis_data'
    again.mkdir(parents=True)
    lines = [loss(2, 1.0), health(2, feature_rank=5.0)]
    (again / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    (run,) = read_runs([work_dir])
    assert run.health('feature_rank') == {1: 1.0, 2: 5.0}


def test_the_report_of_a_baseline(tmp_path):
    """Without a selection it shows the rest."""
    lines = [loss(1, 1.0), health(1, feature_rank=7.0, teacher_entropy=0.4)]
    page = Page(selection_html(read_runs([write_run(tmp_path / 'run', lines)])))
    titles = [picture['alt'] for picture in page.pictures]
    assert titles == ['Training loss', RANK, "Entropy of the teacher's outputs"]
    row = page.lines[1]
    assert row[0] == 'run'
    with pytest.raises(ValueError, match='nothing was logged'):
        selection_html(read_runs([write_run(tmp_path / 'empty', [loss(1, 1.0)])]))
