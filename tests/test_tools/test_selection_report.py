"""``tools/analysis/selection_report.py``: its numbers, its page, and how a browser shows it."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from PIL import Image

from hvs_mm.reports import draw_selection_plots, read_runs, selection_series, wilson_interval
from tests.helpers.tools import load_tool
from tests.test_engine.test_hooks.test_selection_stats_hook import simsiam, train

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which('chromium')
HOOKS = [
    dict(type='SelectionStatsHook', interval=2),
    dict(type='SelectionPanelHook', interval=1, num_images=1),
]
CONFIG = """
model = dict(type='HVSAlgorithm', algorithm=dict(type='SimSiam'), candidates=[4], keep=[2])
train_cfg = dict(max_epochs=3)
"""


def report(*args):
    load_tool('analysis/selection_report').main([str(arg) for arg in args])


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory):
    """Of a real run of three epochs."""
    from mmengine.registry import DefaultScope

    folder = tmp_path_factory.mktemp('runs') / 'hard'
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        train(folder, simsiam(), HOOKS, batch_size=4, num_batches=3, max_epochs=3)
    return folder


def write_run(work_dir, lines, config=CONFIG):
    folder = work_dir / '20260101_000000' / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    (folder / 'config.py').write_text(config)
    return work_dir


def entry(epoch, iteration, images, **scalars):
    named = {f'selection/{name}': value for name, value in scalars.items()}
    position = {'iter': iteration, 'step': iteration}
    if epoch is not None:
        position['epoch'] = epoch
    return {'selection/images': images, **named, **position}


class Page(HTMLParser):
    """The tables, pictures and addresses of a page."""

    def __init__(self, text):
        super().__init__()
        self.lines, self.pictures, self.tags, self._cell = [], [], set(), None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        attributes = dict(attrs)
        if tag == 'tr':
            self.lines.append([])
        elif tag in ('td', 'th'):
            self._cell = ''
        elif tag == 'img':
            self.pictures.append(attributes)

    def handle_data(self, data):
        if self._cell is not None:
            self._cell += data

    def handle_endtag(self, tag):
        if tag in ('td', 'th'):
            self.lines[-1].append(self._cell)
            self._cell = None


# --- Numbers ---------------------------------------------------------------------------------


def test_entries_of_an_epoch_count_by_their_images(tmp_path):
    values = [np.array([0.1, -0.3]), np.array([0.2, 0.4, -0.1, 0.5, 0.0, 0.3])]
    lines = [
        entry(
            1, 2 * (i + 1), len(v),
            iou_gap=v.mean(), iou_gap_std=v.std(), lowest_iou=(v > 0).mean(), iou_kept=v.mean(),
        )
        for i, v in enumerate(values)
    ]  # fmt: skip
    lines.append(entry(2, 6, 10, iou_gap=0.5, iou_gap_std=0.0, lowest_iou=1.0, iou_kept=0.5))
    (run,) = read_runs([write_run(tmp_path / 'run', lines)])
    first, second = selection_series(run)
    joined = np.concatenate(values)
    assert (first.position, first.images) == (1, 8)
    assert first.means['iou_gap'] == pytest.approx(joined.mean())
    assert first.means['iou_gap_std'] == pytest.approx(joined.std())
    assert first.means['lowest_iou'] == pytest.approx((joined > 0).mean())
    assert first.gap_error('iou') == pytest.approx(1.96 * joined.std() / 8**0.5)
    assert (second.position, second.images) == (2, 10)
    assert second.gap_error('iou') == 0
    assert second.gap_error('score') is None


def test_images_without_a_finite_score(tmp_path):
    values, nan = np.array([0.1, -0.3, 0.2, 0.4]), float('nan')
    lines = [
        entry(1, 1, 10, score_gap=0.1, score_gap_std=0.0, score_gap_images=1),
        entry(
            1, 2, 5, score_gap=values[1:].mean(), score_gap_std=values[1:].std(), score_gap_images=3
        ),
        entry(2, 3, 5, score_gap=nan, score_gap_std=nan, score_gap_images=0, iou_kept=0.5),
    ]
    (run,) = read_runs([write_run(tmp_path / 'run', lines)])
    first, second = selection_series(run)
    assert (first.images, first.scored) == (15, 4)
    assert first.means['score_gap'] == pytest.approx(values.mean())
    assert first.gap_error('score') == pytest.approx(1.96 * values.std() / 4**0.5)
    assert 'score_gap' not in second.means
    assert second.gap_error('score') is None


def test_a_resumed_run_counts_an_epoch_once(tmp_path):
    work_dir = write_run(
        tmp_path / 'run',
        [{'loss': 1.0, 'epoch': e, 'iter': e, 'step': e} for e in (1, 2)]
        + [entry(1, 1, 8, iou_kept=0.1), entry(2, 2, 8, iou_kept=0.2)],
    )
    again = work_dir / '20260102_000000' / 'vis_data'
    again.mkdir(parents=True)
    lines = [{'loss': 1.0, 'epoch': 2, 'iter': 2, 'step': 2}, entry(2, 2, 8, iou_kept=0.7)]
    (again / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    (run,) = read_runs([work_dir])
    assert [(p.position, p.images, p.means['iou_kept']) for p in selection_series(run)] == [
        (1, 8, 0.1),
        (2, 8, 0.7),
    ]
    assert not run.log.validation


def test_a_resumed_run_that_counts_iterations(tmp_path):
    config = CONFIG.replace('max_epochs=3', 'max_iters=200, by_epoch=False')

    def lines(*iterations):
        return [
            line
            for i in iterations
            for line in ({'loss': 1.0, 'iter': i, 'step': i}, entry(None, i, 8, iou_kept=i / 1000))
        ]

    work_dir = write_run(tmp_path / 'run', lines(50, 100, 150), config)
    again = work_dir / '20260102_000000' / 'vis_data'
    again.mkdir(parents=True)
    (again / 'config.py').write_text(config)
    (again / 'scalars.json').write_text('\n'.join(map(json.dumps, lines(150, 200))))
    (run,) = read_runs([work_dir])
    assert [record.iteration for record in run.log.train] == [50, 100, 150, 200]
    assert [period.position for period in selection_series(run)] == [50, 100, 150, 200]
    report(work_dir)
    assert 'after iteration' not in (work_dir / 'selection_report.html').read_text()


def test_wilson_interval_by_hand():
    # Brown, Cai, DasGupta (2001): 0 of 10 and 5 of 10.
    assert wilson_interval(0.0, 10) == pytest.approx((0, 0.2775), abs=1e-4)
    assert wilson_interval(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)


def test_the_plots_show_the_numbers(tmp_path):
    lines = [
        entry(
            epoch, epoch, 50,
            iou_kept=0.1 * epoch, iou_all=0.5, iou_gap=0.1 * epoch - 0.5, iou_gap_std=0.2,
            lowest_iou=0.2, lowest_iou_chance=1 / 6, kept_view_0=0.7, kept_view_1=0.3,
            iou_kept_bin_0=0.0, iou_kept_bin_3=1.0, iou_all_bin_5=1.0,
        )
        for epoch in (1, 2, 3)
    ]  # fmt: skip
    (run,) = read_runs([write_run(tmp_path / 'run', lines)])
    plots = draw_selection_plots({'run': selection_series(run)})
    (axes,) = plots['IoU of the kept crops, and of all'].axes
    kept, everything = axes.get_lines()
    assert kept.get_xydata().tolist() == [[e, pytest.approx(0.1 * e)] for e in (1, 2, 3)]
    assert everything.get_ydata().tolist() == [0.5] * 3
    band = axes.collections[0].get_paths()[0].get_extents()
    half = 1.96 * 0.2 / 50**0.5
    assert (band.ymin, band.ymax) == pytest.approx((0.1 - half, 0.3 + half))
    (axes,) = plots['Which views are kept in the last epoch'].axes
    assert [bar.get_height() for bar in axes.patches] == [0.7, 0.3]
    (axes,) = plots['IoU in the last epoch'].axes
    assert axes.patches[0].get_data().values.tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    # Nothing was logged of colors and scores.
    assert not any('jitter' in title or 'Score' in title for title in plots)


def test_a_run_has_one_color_in_all_plots(tmp_path):
    """Also in plots for which the runs before it have logged nothing."""
    entries = {
        'first': entry(1, 10, 50, iou_kept=0.3, iou_all=0.5, iou_gap=-0.2, iou_gap_std=0.2),
        'second': entry(
            1, 10, 50,
            iou_kept=0.4, iou_all=0.5, iou_gap=-0.1, iou_gap_std=0.2, iou_kept_bin_0=1.0,
            score_gap=0.1, score_gap_std=0.1, kept_view_0=1.0,
        ),
    }  # fmt: skip
    runs = read_runs([write_run(tmp_path / name, [line]) for name, line in entries.items()])
    plots = draw_selection_plots({run.name: selection_series(run) for run in runs})
    (axes,) = plots['IoU of the kept crops, and of all'].axes
    colors = {line.get_label(): to_rgba(line.get_color()) for line in axes.get_lines()}
    expected = colors['second: kept']
    assert expected != colors['first: kept']
    (axes,) = plots['Score of the kept views minus the mean'].axes
    assert to_rgba(axes.get_lines()[0].get_color()) == expected
    for title in ('IoU in the last epoch', 'Which views are kept in the last epoch'):
        (axes,) = plots[title].axes
        patch = axes.patches[0]
        assert expected in (patch.get_edgecolor(), patch.get_facecolor()), title


# --- The page --------------------------------------------------------------------------------


def test_the_page_of_a_real_run(work_dir):
    report(work_dir)
    text = (work_dir / 'selection_report.html').read_text()
    page = Page(text)
    assert not page.tags & {'script', 'link', 'iframe', 'object'}
    header, *lines = page.lines[-2:]
    assert header[:3] == ['run', 'epoch', 'images']
    (last,) = lines
    (run,) = read_runs([work_dir])
    period = selection_series(run)[-1]
    assert last[0] == 'hard'
    assert last[1] == '3'
    assert last[2] == str(period.images) == '12'
    assert last[3] == f'{period.means["iou_kept"]:.3f}'
    assert last[7] == f'{period.means["lowest_iou_chance"]:.1%}'
    titles = [picture['alt'] for picture in page.pictures]
    assert titles[-3:] == ['hard, before training', 'hard, after epoch 2', 'hard, after epoch 3']
    for picture in page.pictures:
        kind, _, data = picture['src'].partition(',')
        assert kind == 'data:image/png;base64'
        Image.open(BytesIO(base64.b64decode(data))).verify()
    panel = base64.b64decode(page.pictures[-1]['src'].partition(',')[2])
    assert panel == (work_dir / 'selection' / 'epoch_3.png').read_bytes()
    assert not re.search(r'(src|href)=["\'](?!data:)', text)


def test_a_run_that_selects_without_forwards_next_to_one_by_losses(work_dir, tmp_path):
    train(tmp_path / 'far', simsiam(selector='lowest_iou'), HOOKS[:1], max_epochs=1)
    hard, far = (selection_series(run)[-1] for run in read_runs([work_dir, tmp_path / 'far']))
    assert far.means['lowest_iou'] == far.means['hardness'] == 1
    assert far.means['score_gap'] == pytest.approx(-far.means['iou_gap'], abs=1e-6)
    # By the losses it is another choice.
    assert hard.means['lowest_iou'] < 1
    report(work_dir, tmp_path / 'far', '--out', tmp_path / 'report.html')
    page = Page((tmp_path / 'report.html').read_text())
    header, *rows = next(
        [page.lines[i], *page.lines[i + 1 : i + 3]]
        for i, line in enumerate(page.lines)
        if 'hardness' in line
    )
    shown = {row[0]: dict(zip(header, row)) for row in rows}
    assert shown['far']['lowest IoU kept'].startswith('100.0%')
    assert float(shown['far']['hardness']) == 1


def test_the_difference_in_color_is_shown_where_there_is_any(tmp_path):
    def titles(**scalars):
        lines = [entry(1, 1, 50, iou_kept=0.1, strongest_color_chance=1.0, **scalars)]
        (run,) = read_runs([write_run(tmp_path / str(scalars), lines)])
        return draw_selection_plots({'run': selection_series(run)})

    title = 'Difference in color of the kept views, and of all'
    assert title not in titles(color_difference_kept=0.0, color_difference_all=0.0)
    # Gray views alone are no jitter.
    (axes,) = titles(color_difference_kept=0.4, color_difference_all=0.3)[title].axes
    assert [line.get_ydata().tolist() for line in axes.get_lines()] == [[0.4], [0.3]]


def test_names_and_configs_are_text_not_html(tmp_path):
    work_dir = tmp_path / '<img src=x onerror=alert(1)>'
    config = CONFIG + 'note = "</pre><script>alert(2)</script>"\n'
    write_run(work_dir, [entry(1, 1, 8, iou_kept=0.1)], config)
    report(work_dir, '--out', tmp_path / 'report.html')
    text = (tmp_path / 'report.html').read_text()
    page = Page(text)
    assert 'script' not in page.tags
    assert not any('onerror' in picture for picture in page.pictures)
    assert '&lt;script&gt;' in text


def test_several_runs(work_dir, tmp_path):
    other = write_run(tmp_path / 'other', [entry(1, 1, 8, iou_kept=0.1, iou_all=0.2)])
    empty = write_run(tmp_path / 'empty', [{'loss': 1.0, 'epoch': 1, 'iter': 1, 'step': 1}])
    out = tmp_path / 'new' / 'report.html'
    report(work_dir, other, empty, '--out', out)
    page = Page(out.read_text())
    assert [line[0] for line in page.lines] == [
        'run',
        'hard',
        'other',
        'empty',
        'run',
        'hard',
        'other',
    ]
    assert 'empty: nothing was logged of what is selected.' in out.read_text()


def test_bad_input(tmp_path):
    empty = write_run(tmp_path / 'empty', [{'loss': 1.0, 'epoch': 1, 'iter': 1, 'step': 1}])
    for args, message in (
        ([empty], 'nothing was logged of what is selected'),
        ([tmp_path / 'missing'], 'does not exist'),
        ([tmp_path], 'is no work dir'),
        ([empty, '--k', '0'], 'at least 1 neighbor'),
    ):
        with pytest.raises(SystemExit, match=f'^error: .*{message}'):
            report(*args)


# --- In a browser ----------------------------------------------------------------------------

#: Shows the report in a frame of some width, and says in the page's title how wide it became, how
#: many pictures it has, how many of them are broken, and what it asked the network for.
FRAME = """<!doctype html><title>-</title><body style="margin:0">
<iframe id="frame" src="report.html" style="border:0;width:{width}px;height:900px"></iframe>
<script>
document.getElementById('frame').onload = event => {{
  const page = event.target.contentDocument;
  const broken = [...page.images].filter(image => !image.naturalWidth).length;
  const asked = page.defaultView.performance.getEntriesByType('resource')
    .map(entry => entry.name).filter(name => !name.startsWith('data:'));
  document.title = JSON.stringify(
    [page.documentElement.scrollWidth, page.images.length, broken, asked]);
}};
</script>
"""


class _Handler(SimpleHTTPRequestHandler):
    """Serves a folder. As the proxy it refuses everything else: tests need no network."""

    def do_GET(self):
        if self.path.startswith('http'):
            self.send_error(403)
        else:
            super().do_GET()

    def do_CONNECT(self):
        self.send_error(403)

    def log_message(self, *args):
        pass


def browse(folder, page):
    """Open a page of a folder.

    Returns:
        What the page made of its title, read as JSON, and what it wrote to the console.
    """
    handler = partial(_Handler, directory=str(folder))
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        port = server.server_address[1]
        process = subprocess.run(
            [
                CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run',
                '--disable-background-networking', '--disable-component-update', '--disable-sync',
                '--disable-quic', '--disable-extensions', '--enable-logging=stderr',
                f'--user-data-dir={folder / "profile"}',
                f'--proxy-server=127.0.0.1:{port}', f'--proxy-bypass-list=127.0.0.1:{port}',
                '--window-size=1600,1000', '--virtual-time-budget=10000', '--dump-dom',
                f'http://127.0.0.1:{port}/{page}',
            ],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
    finally:
        server.shutdown()
    console = [line for line in process.stderr.splitlines() if 'CONSOLE' in line]
    return json.loads(re.search(r'<title>(.*?)</title>', process.stdout)[1]), console


needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason='needs Chromium: runs where .ci/run installs it'
)


@needs_chromium
@pytest.mark.parametrize('width', [400, 1400])
def test_a_browser_shows_it_whole(work_dir, tmp_path, width):
    report(work_dir, '--out', tmp_path / 'report.html')
    (tmp_path / 'frame.html').write_text(FRAME.format(width=width))
    (scroll_width, num_images, num_broken, asked), console = browse(tmp_path, 'frame.html')
    # Nothing is cut off, nor has to be scrolled to from side to side, but wide tables and panels.
    assert scroll_width <= width
    assert num_images > 6
    assert num_broken == 0
    assert not console
    assert not asked


@needs_chromium
def test_the_browser_tells_of_errors_and_requests(tmp_path):
    """The test above can fail."""
    (tmp_path / 'report.html').write_text(
        '<link rel="stylesheet" href="http://fonts.googleapis.com/css">'
        '<img src="http://example.org/x.png"><script>console.error("wrong")</script>'
        '<div style="width:900px">wide</div>'
    )
    (tmp_path / 'frame.html').write_text(FRAME.format(width=400))
    (scroll_width, num_images, num_broken, asked), console = browse(tmp_path, 'frame.html')
    assert scroll_width == pytest.approx(900, abs=20)
    assert (num_images, num_broken) == (1, 1)
    assert any('wrong' in line for line in console)
    assert sorted(asked) == ['http://example.org/x.png', 'http://fonts.googleapis.com/css']
