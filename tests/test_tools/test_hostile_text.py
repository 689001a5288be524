"""Names of files, configs and logs that mean something to a browser, a terminal or matplotlib."""

from __future__ import annotations

import csv
import json
import os
import unicodedata
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvs_mm.engine import error_line
from hvs_mm.reports import printable, read_runs, selection_html
from hvs_mm.reports.run_log import number, whole_number
from tests.helpers.tools import load_tool
from tests.test_tools.test_selection_report import entry, write_run

NAMES = [
    '<script>alert(1)<script>', '"><img src=x onerror=alert(1)>', "' onload='x", '&lt;b&gt;',
    'javascript:alert(1)', '$', '$\\frac{$', '$x^$', '\\', '_hidden', 'two\nlines', '\x1b[31mred',
    '\x1b]0;title\x07', '[red]x[', '[bold', '| cell', '\u202egnp.exe', '`x`', '*x*', '[a](b:c)',
    '{{ 7 * 7 }}', '{% raw %}', '=1+1', 'bytes \udcff\udcfe', 'line\u2028end', 'ü é', ' ', '%s',
]  # fmt: skip
CONFIG = "model = dict(type='HVSAlgorithm', algorithm=dict(type={type!r}))\nx = {type!r}\n"


class Skeleton(HTMLParser):
    """The tags of a page with the names of their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        for name, value in attrs:
            assert name not in ('src', 'href') or value.startswith('data:image/png;base64,')

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def run_named(folder: Path, name: str, config: str = CONFIG, kind: str = 'SimSiam') -> Path:
    lines = [entry(e, 2 * e, 8, iou_kept=0.4, iou_all=0.5, lowest_iou=0.2) for e in (1, 2)]
    lines += [{'loss': 1.0, 'time': 0.1, 'epoch': e, 'iter': 2 * e, 'step': 2 * e} for e in (1, 2)]
    return write_run(folder / name, lines, config.format(type=kind))


def is_fit(text: str) -> bool:
    """Whether a terminal shows the text and does nothing else."""
    return all(
        character == '\n' or unicodedata.category(character) not in ('Cc', 'Cs', 'Zl', 'Zp')
        for character in text
    ) and not {'\u202e', '\u2066'}.intersection(text)


def test_names_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    plain = [run_named(tmp_path / 'plain', f'{n}') for n in range(len(NAMES))]
    hostile = [run_named(tmp_path / 'other', name) for name in NAMES]
    expected = Skeleton(selection_html(read_runs(plain)))
    out = tmp_path / 'page.html'
    load_tool('analysis/selection_report').main([*map(str, hostile), '--out', str(out)])
    page = Skeleton(out.read_text(encoding='utf-8'))
    assert page.tags == expected.tags
    files = [tmp_path / f'table.{kind}' for kind in ('md', 'csv', 'png')]
    flat = [str(value) for pair in zip(('--markdown', '--csv', '--plot'), files) for value in pair]
    load_tool('compare').main([*map(str, hostile), *flat])
    assert is_fit(capsys.readouterr().out)
    markdown, table = (file.read_text(encoding='utf-8') for file in files[:2])
    assert len(markdown.split('\n')) == 3 + len(NAMES)
    rows = list(csv.DictReader(StringIO(table)))
    for name, row in zip(NAMES, rows):
        assert any(printable(name) in text for text in page.texts), name
        assert row['run'] == printable(name)
    assert len(rows) == len(NAMES)
    assert files[2].stat().st_size > 1000


def test_a_name_is_no_markup_of_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = run_named(tmp_path, '[red]x[')
    load_tool('compare').main([str(run), '--plot', str(tmp_path / 'x.png')])
    assert '[red]x[' in capsys.readouterr().out


def test_a_name_is_no_markup_of_markdown(tmp_path: Path) -> None:
    run, out = run_named(tmp_path, '<b>|[x](y)`*\\'.replace('/', '')), tmp_path / 'x.md'
    load_tool('compare').main([str(run), '--markdown', str(out), '--plot', str(tmp_path / 'x.png')])
    assert '| \\<b>\\|\\[x](y)\\`\\*\\\\ |' in out.read_text()


def test_a_legend_names_every_run(tmp_path: Path) -> None:
    from hvs_mm.reports import draw_selection_plots, selection_series

    runs = read_runs([run_named(tmp_path, name) for name in ('_one', '$two$')])
    plots = draw_selection_plots({run.name: selection_series(run) for run in runs})
    texts = next(iter(plots.values())).legends[0].get_texts()
    labels = [text.get_text().strip() for text in texts]
    assert {label.split(':')[0] for label in labels} == {'_one', '$two$'}
    assert not any(text.get_parse_math() for text in texts)


def test_texts_of_configs(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    kinds = [kind.replace('.', '') for kind in (*NAMES, '</pre></details></script><script>x()')]
    runs = [run_named(tmp_path / 'a', f'run {n}', kind=kind) for n, kind in enumerate(kinds)]
    plain = [run_named(tmp_path / 'b', f'run {n}') for n in range(len(kinds))]
    text = selection_html(read_runs(runs))
    assert Skeleton(text).tags == Skeleton(selection_html(read_runs(plain))).tags
    assert '<script' not in text
    load_tool('compare').main([*map(str, runs), '--plot', str(tmp_path / 'x.png')])
    assert is_fit(capsys.readouterr().out)


def test_broken_configs_and_logs(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = run_named(tmp_path, 'run')
    folder = run / '20260101_000000' / 'vis_data'
    (folder / 'config.py').write_bytes(b'\xff\x00\x1b[31m <script>')
    deep = '[' * 100_000
    (run / 'knn_\x1b[31m.json').write_text('{"k": 3, "x": "<script>"}')
    (run / 'knn_deep.json').write_text(deep)
    huge = '1' * 400
    lines = [
        f'{{"selection/iou_kept": {huge}, "selection/images": 4, "epoch": 3, "iter": 6}}',
        f'{{"loss": {huge}, "time": {huge}, "epoch": 3, "iter": 6}}',
        f'{{"loss": 1, "epoch": {huge}, "iter": {huge}}}',
        '{"loss": "<script>", "epoch": 4, "iter": 8, "\\ud800": "\\ud800"}',
        deep,
        '{"loss": NaN, "memory": Infinity, "epoch": 5, "iter": 10}',
    ]
    with (folder / 'scalars.json').open('a') as file:
        file.write('\n' + '\n'.join(lines) + '\n')
    page = selection_html(read_runs([run]))
    assert '<script' not in page
    page.encode('utf-8')
    load_tool('compare').main([str(run), '--plot', str(tmp_path / 'x.png')])
    output = capsys.readouterr().out
    assert is_fit(output)
    assert 'knn_\\x1b[31m.json is left out' in output


def test_only_pictures_come_into_the_page(tmp_path: Path) -> None:
    run, secret = run_named(tmp_path, 'run'), tmp_path / 'secret'
    secret.write_text('password')
    (run / 'selection').mkdir()
    (run / 'selection' / 'epoch_1.png').symlink_to(secret)
    for name in ('epoch_007.png', 'epoch_\u0663.png', 'epoch_x.png', f'epoch_{"9" * 99}.png'):
        (run / 'selection' / name).write_bytes(b'\x89PNG\r\n\x1a\n')
    (run / 'selection' / 'epoch_2.png').mkdir()
    page = selection_html(read_runs([run]))
    assert 'cGFzc3dvcmQ' not in page
    assert 'after epoch 7' in page
    assert 'after epoch 3' not in page


# --- What makes text fit ---------------------------------------------------------------------


@settings(derandomize=True, database=None)
@given(st.text(st.characters(), max_size=20))
def test_printable(text: str) -> None:
    shown = printable(text)
    assert is_fit(shown)
    assert '\n' not in shown
    shown.encode('utf-8')
    if text.isascii() and text.isprintable():
        assert shown == text


def test_printable_escapes_as_python_does() -> None:
    assert printable('a\x1b\n\udcff\u202e🙂') == 'a\\x1b\\n\\udcff\\u202e🙂'
    assert printable(Path(os.fsdecode(b'/\xff'))) == '/\\udcff'
    assert error_line(ValueError('x\x1b[31m\n  y')) == 'error: x\\x1b[31m y'


@pytest.mark.parametrize('value', [10**400, -(2**60), True, '1', None, [1]])
def test_what_is_no_number(value: Any) -> None:
    assert number(value) is None
    assert whole_number(value) is None


def test_numbers_stay() -> None:
    assert [number(json.loads(text)) for text in ('1', '2.5', '-0.5', '1e400')] == [
        1, 2.5, -0.5, float('inf'),
    ]  # fmt: skip
