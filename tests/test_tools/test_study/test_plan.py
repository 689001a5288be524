"""Study files, and what is refused."""

from __future__ import annotations

import pytest

from hvs_study.plan import read_study
from hvs_study.schema import StudyError
from tests.helpers.studies import rewritten, write_study
from tests.helpers.tools import ROOT, load_tool


def test_the_runs_of_a_study(tmp_path):
    path = rewritten(
        write_study(tmp_path),
        'runs = [',
        "runs = [dict(arms=['baseline'], epochs=[4, 2], seeds=[1, 0]), ",
    )
    runs = [run.id for run in read_study(str(path), ROOT).runs]
    assert runs == [
        # Everything of the first seed first, and what is named twice once.
        'simsiam-baseline-e4-s0',
        'simsiam-baseline-e2-s0',
        'simsiam-hardest-e2-s0',
        'simsiam-baseline-e4-s1',
        'simsiam-baseline-e2-s1',
    ]


def test_one_study_inherits_from_another(tmp_path):
    base = write_study(tmp_path)
    path = tmp_path / 'other.py'
    path.write_text(f"_base_ = '{base.name}'\n_mine = 2\nname = 'other'\nthreads = _mine\n")
    study = read_study(str(path), ROOT)
    assert (study.name, study.threads, len(study.runs)) == ('other', 2, 2)
    assert study.linear_c == 0.5


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        (
            'linear=dict(C=0.5)',
            "transfer=dict(cells=dict(bank='cells'))",
            r'evaluation\.transfer\.cells\.queries is missing',
        ),
        (
            'linear=dict(C=0.5)',
            'transfer=dict(cells=dict(bank=3, queries=None))',
            r'evaluation\.transfer\.cells\.bank=3: expected a folder of class folders',
        ),
        ("name = 'tiny'", "name = '../x'", r"name='\.\./x': expected letters, digits"),
        ("name = 'tiny'", "name = 'tiny", r'study\.py: line 2: unterminated string'),
        ('k=3', "k=3, temperature='x'", r"evaluation\.knn\.temperature='x': expected a number"),
        ("name = 'tiny'", 'x = 1', r'x=1: there is no such setting; expected one of'),
        ("name = 'tiny'", 'thread = 1', r"thread=1: there is no such setting; did you mean"),
        ("name = 'tiny'", '', r'name is missing'),
        ("name = 'tiny'", "name = 'a'; threads = 0", r'threads=0: expected a whole number'),
        ('seeds=[0]', 'seeds=[0.5]', r'runs\.0\.seeds=0\.5: expected a whole number, at least 0'),
        ('seeds=[0]', 'seeds=[True]', r'runs\.0\.seeds=True: expected a whole number'),
        ('seeds=[0]', 'seeds=[2**32]', r'runs\.0\.seeds=4294967296: .* at most 4294967295'),
        ('seeds=[0]', 'seeds=[]', r'runs\.0\.seeds=\[\]: expected a list that is not empty'),
        ('seeds=[0]', 'seed=[0]', r"runs\.0\.seed=\[0\]: .* did you mean 'seeds'"),
        ('epochs=[2]', 'epochs=[0]', r'runs\.0\.epochs=0: expected a whole number, at least 1'),
        ('epochs=[2], ', '', r'runs\.0\.epochs is missing'),
        ("'hardest'], ", "'harder'], ", r"runs\.0\.arms='harder': expected one of \['baseline'"),
        (
            'runs = [dict(',
            "runs = [dict(methods=['x'], ",
            r"runs\.0\.methods='x': expected one of \['simsiam'\]",
        ),
        ('runs = [dict(', 'runs = [1, dict(', r'runs\.0=1: expected a dict'),
        (
            'baseline=dict(config=',
            'baseline=dict(konfig=1, config=',
            r"arms\.baseline\.konfig=1: .* did you mean 'config'",
        ),
        (
            "baseline=dict(config='baseline')",
            "baseline=dict(config='base')",
            r"arms\.baseline\.config='base': expected one of \['baseline', 'selection'\]",
        ),
        ('candidates=[6]', 'candidates=[0]', r'arms\.of6\.candidates=0: expected a whole number'),
        (
            "config='selection'),",
            "config='selection', per_method=dict(dino={})),",
            r"arms\.hardest\.per_method='dino': expected one of \['simsiam'\]",
        ),
        (
            "'configs/demo/simsiam.py'",
            "'configs/demo/none.py'",
            r"methods\.simsiam\.baseline='configs/demo/none\.py': there is no such file, looked in",
        ),
        ("'configs/demo/simsiam.py'", '3', r'methods\.simsiam\.baseline=3: expected the path'),
        ('cfg_options = {', 'cfg_options = {3: 1, ', r'cfg_options=.*: expected settings by dot'),
        ('k=3', 'k=0', r'evaluation\.knn\.k=0: expected a whole number, at least 1'),
        ('k=3', 'k=3, temperature=-1', r'evaluation\.knn: temperature=-1'),
        ('C=0.5', 'C=0', r'evaluation\.linear\.C=0: expected a positive number'),
        ('C=0.5', "C='x'", r"evaluation\.linear\.C='x': expected a positive number"),
        ('linear=dict(C=0.5)', 'linear=3', r'evaluation\.linear=3: expected a dict'),
    ],
)  # fmt: skip
def test_bad_studies_are_refused(tmp_path, old, new, message):
    path = rewritten(write_study(tmp_path), old, new)
    with pytest.raises(StudyError, match=message) as error:
        read_study(str(path), ROOT)
    assert str(error.value).startswith(f'{path}: ')


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        (
            "'default_hooks.logger.interval'",
            "'default_hooks.loger.interval'",
            r"cfg_options of run simsiam-baseline-e2-s0: default_hooks\.loger.* has no key 'loger'",
        ),
        (
            "config='selection'),",
            "config='selection', cfg_options={'model.selektor': 'random'}),",
            r"arms\.hardest\.cfg_options of run .*'model' has no key 'selektor'",
        ),
        (
            "hardest=dict(config='selection'",
            "hardest=dict(config='baseline', candidates=[6]",
            r'arms\.hardest\.candidates=\[6\]: .* selects no views',
        ),
        (
            "config='selection'),",
            "config='selection', cfg_options={'model.selector': 'x'}),",
            r"run simsiam-hardest-e2-s0: .*'x'",
        ),
        ('k=3', 'k=17', r'run simsiam-baseline-e2-s0: .*17'),
    ],
)
def test_settings_that_do_not_fit_stop_a_study_before_it_writes(tmp_path, old, new, message):
    path = rewritten(write_study(tmp_path), old, new)
    work = tmp_path / 'work'
    with pytest.raises(SystemExit, match=message) as error:
        load_tool('study/run').main([str(path), '--work-dir', str(work)])
    assert str(error.value).startswith('error: ')
    assert '\n' not in str(error.value)
    assert not work.exists()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--jobs', '0'], '--jobs 0: it must be at least 1'),
        (['--one', 'x'], '--one x: .* has no such run'),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(SystemExit, match=message):
        load_tool('study/run').main([str(write_study(tmp_path)), *arguments])
    with pytest.raises(SystemExit, match="study 'nothing' does not exist"):
        load_tool('study/run').main(['nothing'])
