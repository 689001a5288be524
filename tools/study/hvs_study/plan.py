"""A study file: the runs to compare and how they are evaluated."""

from __future__ import annotations

import os.path as osp
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Any

from mmengine.config import Config

from hvs_mm.evaluation import KNNSettings

from .errors import StudyError, check, expect, is_name

_LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study; the seed decides weights, order of the images, and views."""

    method: str
    arm: str
    epochs: int
    seed: int

    @property
    def id(self) -> str:
        """The name of the run in results and on the command line."""
        return f'{self.method}-{self.arm}-e{self.epochs}-s{self.seed}'


@dataclass(frozen=True)
class Study:
    """A study, with the settings of its file checked and its configs found.

    Attributes:
        path: The study file.
        name: Name of the study.
        methods: For each method, config paths by name, and ``cfg_options``.
        arms: For each arm, ``config``, ``cfg_options``, ``candidates`` and ``per_method``.
        options: Overrides for all runs, by dotted keys.
        runs: All runs, those of the first seed first.
        threads: Threads of each run.
        knn: Settings of the k-NN classifier, with a single k.
        interval: Epochs from one k-NN evaluation to the next.
        linear_c: Inverse regularization strength of the linear classifier; ``None`` for none.
    """

    path: str
    name: str
    methods: dict[str, dict[str, Any]]
    arms: dict[str, dict[str, Any]]
    options: dict[str, Any]
    runs: list[PlannedRun]
    threads: int
    knn: KNNSettings
    interval: int
    linear_c: float | None


def read_study(path: str, root: str | Path | None = None) -> Study:
    """Read a study file: Python, as MMEngine reads configs.

    Args:
        path: The study file.
        root: Folder to look for configs in after the current one.

    Raises:
        FileNotFoundError: If the file does not exist.
        StudyError: If a setting is missing, unknown or out of range.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(f'study {path!r} does not exist.')
    folders = [Path(), *([Path(root)] if root else [])]
    try:
        return _parse(path, Config.fromfile(path).to_dict(), folders)
    except SyntaxError as error:
        raise StudyError(f'{path}: line {error.lineno}: {error.msg}') from error
    except StudyError as error:
        raise StudyError(f'{path}: {error}') from error


def _parse(path: str, settings: dict[str, Any], folders: list[Path]) -> Study:
    # A name with an underscore in front only helps to write the file.
    settings = {key: value for key, value in settings.items() if not key.startswith('_')}
    required = ('name', 'methods', 'arms', 'runs')
    _check_dict('', settings, '', (*required, 'cfg_options', 'evaluation', 'threads'), required)
    name, methods, arms = (settings[key] for key in ('name', 'methods', 'arms'))
    _check_names('name', [name])
    for key in ('methods', 'arms'):
        _check_dict(key, settings[key], 'a dict of dicts by name')
        _check_names(key, settings[key])
    for key, method in methods.items():
        _check_method(f'methods.{key}', method, folders)
    for key, arm in arms.items():
        _check_arm(f'arms.{key}', arm, methods)
    threads = settings.get('threads', 1)
    _check_wholes('threads', [threads], 1)
    options = _options('cfg_options', settings)
    runs = _runs(settings['runs'], methods, arms)
    evaluation = _evaluation(settings.get('evaluation', {}))
    return Study(path, name, methods, arms, options, runs, threads, **evaluation)


def _check_method(where: str, method: Any, folders: list[Path]) -> None:
    """Check a method, and replace its configs by the paths at which they are found."""
    _check_dict(where, method, 'a dict, baseline=CONFIG and so on')
    _options(f'{where}.cfg_options', method)
    expect(len(method) > 1, f'{where}={method!r} names no config: give it baseline=CONFIG.')
    for key in method.keys() - {'cfg_options'}:
        value = method[key]
        wanted = 'the path of a config; a method has these and cfg_options, nothing else'
        check(f'{where}.{key}', value, isinstance(value, str), wanted)
        places = [folder / value for folder in folders]
        looked = ' and '.join(str(place.parent.absolute()) for place in places)
        found = [str(place) for place in places if place.is_file()]
        expect(found, f'{where}.{key}={value!r}: there is no such file, looked in {looked}.')
        method[key] = found[0]


def _check_arm(where: str, arm: Any, methods: dict[str, Any]) -> None:
    known = ('config', 'cfg_options', 'candidates', 'per_method')
    _check_dict(where, arm, "a dict with config='selection' or alike", known, ('config',))
    _options(f'{where}.cfg_options', arm)
    configs = sorted({name for method in methods.values() for name in method} - {'cfg_options'})
    _check_choices(f'{where}.config', [arm['config']], configs)
    if arm.setdefault('candidates', None) is not None:
        _check_wholes(f'{where}.candidates', arm['candidates'], 1)
    per_method = arm.setdefault('per_method', {})
    _check_dict(f'{where}.per_method', per_method, 'a dict of options by method')
    _check_choices(f'{where}.per_method', per_method, methods)
    for name in per_method:
        _options(f'{where}.per_method.{name}', per_method)


def _runs(settings: Any, methods: dict[str, Any], arms: dict[str, Any]) -> list[PlannedRun]:
    # A run that is named twice is made once.
    found: dict[PlannedRun, None] = {}
    wanted = 'a dict, dict(methods=[...], arms=[...], epochs=[...], seeds=[...])'
    _check_list('runs', settings)
    for number, one in enumerate(settings):
        where = f'runs.{number}'
        required = ('epochs', 'seeds')
        _check_dict(where, one, wanted, ('methods', 'arms', *required), required)
        one = {'methods': list(methods), 'arms': list(arms), **one}
        for key, known in (('methods', methods), ('arms', arms)):
            _check_list(f'{where}.{key}', one[key])
            _check_choices(f'{where}.{key}', one[key], known)
        _check_wholes(f'{where}.epochs', one['epochs'], 1)
        _check_wholes(f'{where}.seeds', one['seeds'], 0, _LARGEST_SEED)
        for method, arm in product(one['methods'], one['arms']):
            config = arms[arm]['config']
            expect(
                config in methods[method],
                f'{where}: arm {arm!r} takes config={config!r}, which method {method!r} does not '
                'have: name it there, or leave one of them out here.',
            )
        for seed, *names in product(*(one[k] for k in ('seeds', 'methods', 'arms', 'epochs'))):
            found[PlannedRun(*names, seed)] = None
    # A study that is stopped early has all arms of its first seeds.
    return sorted(found, key=lambda run: run.seed)


def _evaluation(settings: Any) -> dict[str, Any]:
    _check_dict('evaluation', settings, 'a dict with knn and linear', ('knn', 'linear'))
    knn, linear = settings.get('knn', {}), settings.get('linear', {})
    known = ('interval', *KNNSettings.__dataclass_fields__)
    _check_dict('evaluation.knn', knn, 'a dict, dict(k=20, interval=1)', known)
    knn = {'k': 20, 'interval': 1, 'num_workers': 0, **knn}
    for name in ('k', 'interval'):
        _check_wholes(f'evaluation.knn.{name}', [knn[name]], 1)
    for name in sorted(knn.keys() & {'temperature', 'batch_size'}):
        value = knn[name]
        check(f'evaluation.knn.{name}', value, isinstance(value, (int, float)), 'a number')
    found = {'interval': knn.pop('interval'), 'linear_c': None}
    try:
        found['knn'] = KNNSettings(**knn)
    except (TypeError, ValueError) as error:
        raise StudyError(f'evaluation.knn: {error}') from error
    if linear is not None:
        wanted = 'dict(C=1.0), or None for no linear evaluation'
        _check_dict('evaluation.linear', linear, wanted, ('C',))
        c = linear.get('C', 1.0)
        is_number = isinstance(c, (int, float)) and not isinstance(c, bool)
        is_positive = is_number and 0 < c < float('inf')
        check('evaluation.linear.C', c, is_positive, 'a positive number, such as 1.0')
        found['linear_c'] = float(c)
    return found


def _check_dict(
    where: str,
    value: Any,
    expected: str,
    known: Sequence[str] | None = None,
    required: Sequence[str] = (),
) -> None:
    check(where, value, isinstance(value, dict), expected)
    place = f'{where}.' if where else ''
    for key in value if known else ():
        close = get_close_matches(str(key), known, n=1)
        hint = f'did you mean {close[0]!r}?' if close else f'expected one of {list(known)}.'
        expect(key in known, f'{place}{key}={value[key]!r}: there is no such setting; {hint}')
    for key in required:
        expect(key in value, f'{place}{key} is missing; docs/studies.md shows a study file.')


def _check_names(where: str, names: Sequence[Any]) -> None:
    check(where, names, names, 'at least one name')
    wanted = 'letters, digits, "_" and ".", the first a letter or a digit: it is in file names'
    for name in names:
        check(where, name, is_name(name), wanted)


def _check_choices(where: str, chosen: Sequence[Any], known: Sequence[str]) -> None:
    for name in chosen:
        check(where, name, name in list(known), f'one of {list(known)}')


def _check_list(where: str, value: Any) -> None:
    is_filled = isinstance(value, (list, tuple)) and value
    check(where, value, is_filled, 'a list that is not empty')


def _check_wholes(where: str, values: Any, minimum: int, maximum: float = float('inf')) -> None:
    _check_list(where, values)
    upper = '' if maximum == float('inf') else f' and at most {maximum}'
    for value in values:
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        fits = is_whole and minimum <= value <= maximum
        check(where, value, fits, f'a whole number, at least {minimum}{upper}')


def _options(where: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The overrides at the last part of a dotted place, empty if there are none."""
    value = settings.setdefault(where.rpartition('.')[2], {})
    are_dotted = isinstance(value, dict) and all(isinstance(key, str) for key in value)
    check(where, value, are_dotted, "settings by dotted keys, {'model.selector': 'random'}")
    return value
