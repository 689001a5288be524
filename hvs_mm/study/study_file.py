"""A study: which runs are to be compared, and how they are evaluated."""

from __future__ import annotations

import os.path as osp
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..evaluation.knn_evaluation import KNNSettings

#: What stands in run ids, and so in the names of folders.
_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.]*')
_LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Method:
    """A method of a study.

    Attributes:
        configs: Paths of configs by what arms call them.
        options: Overrides of settings by dotted keys.
    """

    configs: dict[str, str]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Arm:
    """What is compared, for any method.

    Attributes:
        config: Which of a method's configs it takes.
        options: Overrides of settings by dotted keys.
        candidates: How many views are drawn in each group; those of the config if ``None``.
        per_method: Overrides for one method only, by its name.
    """

    config: str
    options: dict[str, Any] = field(default_factory=dict)
    candidates: list[int] | None = None
    per_method: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study.

    Attributes:
        method: Name of the method.
        arm: Name of the arm.
        epochs: Its length.
        seed: Of the weights, the order of the images, and the views.
    """

    method: str
    arm: str
    epochs: int
    seed: int

    @property
    def id(self) -> str:
        """What the run is called in results and on the command line."""
        return f'{self.method}-{self.arm}-e{self.epochs}-s{self.seed}'


@dataclass(frozen=True)
class Evaluation:
    """How the features of all runs are evaluated.

    Attributes:
        knn: Settings of the k-NN classifier, with a single k.
        interval: Epochs from one k-NN evaluation to the next.
        linear_c: Inverse strength of the regularization of the linear classifier; ``None`` for
            no linear evaluation.
    """

    knn: KNNSettings
    interval: int
    linear_c: float | None

    def described(self) -> dict[str, Any]:
        """What of it a result depends on, for the hash of a run."""
        return {
            'k': self.knn.k[0],
            'temperature': self.knn.temperature,
            'network': self.knn.network,
            # A folder is where a machine has its images.
            'bank': 'folder' if isinstance(self.knn.bank, str) else self.knn.bank,
            'queries': 'folder' if isinstance(self.knn.queries, str) else self.knn.queries,
            'interval': self.interval,
            'linear_c': self.linear_c,
        }


@dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
        path: The file it was read from.
        name: Of the study.
        methods: By name.
        arms: By name.
        options: Overrides of settings for every run, by dotted keys.
        runs: All runs, those of the first seed first.
        evaluation: Of the features.
        threads: Of each run.
    """

    path: str
    name: str
    methods: dict[str, Method]
    arms: dict[str, Arm]
    options: dict[str, Any]
    runs: list[PlannedRun]
    evaluation: Evaluation
    threads: int


class StudyError(ValueError):
    """A setting of a study that it cannot be run with."""


def read_study(path: str, root: str | Path | None = None) -> Study:
    """Read a study file: Python, as MMEngine reads configs.

    Args:
        path: Of the file.
        root: Where configs lie that are not found from the current folder.

    Raises:
        FileNotFoundError: If there is no such file.
        StudyError: If a setting is missing, unknown or no value that it can have; with the
            setting, its value, and what was expected.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(f'study {path!r} does not exist.')
    try:
        settings = Config.fromfile(path).to_dict()
    except SyntaxError as error:
        raise StudyError(f'{path}: line {error.lineno}: {error.msg}') from error
    try:
        return _parse(path, settings, Path(root) if root is not None else None)
    except StudyError as error:
        raise StudyError(f'{path}: {error}') from error


def _parse(path: str, settings: dict[str, Any], root: Path | None) -> Study:
    known = ('name', 'methods', 'arms', 'cfg_options', 'runs', 'evaluation', 'threads')
    # A name with an underscore in front only helps to write the file.
    settings = {key: value for key, value in settings.items() if not key.startswith('_')}
    _check_keys('', settings, known)
    for key in ('name', 'methods', 'arms', 'runs'):
        if key not in settings:
            raise StudyError(f'{key} is missing; docs/studies.md shows a study file.')
    name = settings['name']
    _check_name('name', name)
    methods = {
        key: _method(f'methods.{key}', value, root)
        for key, value in _named('methods', settings['methods']).items()
    }
    arms = {
        key: _arm(f'arms.{key}', value, methods)
        for key, value in _named('arms', settings['arms']).items()
    }
    return Study(
        path=path,
        name=name,
        methods=methods,
        arms=arms,
        options=_options('cfg_options', settings.get('cfg_options', {})),
        runs=_runs(settings['runs'], methods, arms),
        evaluation=_evaluation(settings.get('evaluation', {})),
        threads=_whole('threads', settings.get('threads', 1), 1),
    )


def _method(where: str, settings: Any, root: Path | None) -> Method:
    if not isinstance(settings, dict):
        raise StudyError(f'{where}={settings!r}: expected a dict, baseline=CONFIG and so on.')
    configs = {key: value for key, value in settings.items() if key != 'cfg_options'}
    if not configs:
        raise StudyError(f'{where}={settings!r} names no config: give it baseline=CONFIG.')
    for key, value in configs.items():
        configs[key] = _find_config(f'{where}.{key}', value, root)
    return Method(configs, _options(f'{where}.cfg_options', settings.get('cfg_options', {})))


def _find_config(where: str, value: Any, root: Path | None) -> str:
    if not isinstance(value, str):
        raise StudyError(
            f'{where}={value!r}: expected the path of a config. A method has these and '
            'cfg_options, nothing else.'
        )
    places = [Path(value), *([root / value] if root is not None else [])]
    for place in places:
        if place.is_file():
            return str(place)
    looked = ' and '.join(str(place.parent.absolute()) for place in places)
    raise StudyError(f'{where}={value!r}: there is no such file, looked in {looked}.')


def _arm(where: str, settings: Any, methods: Mapping[str, Method]) -> Arm:
    if not isinstance(settings, dict):
        raise StudyError(f"{where}={settings!r}: expected a dict with config='selection' or alike.")
    _check_keys(where, settings, ('config', 'cfg_options', 'candidates', 'per_method'))
    config = settings.get('config')
    names = sorted({name for method in methods.values() for name in method.configs})
    if config not in names:
        raise StudyError(
            f'{where}.config={config!r}: expected one of {names}, as the methods call their '
            'configs.'
        )
    candidates = settings.get('candidates')
    if candidates is not None:
        items = _list(f'{where}.candidates', candidates)
        candidates = [_whole(f'{where}.candidates', item, 1) for item in items]
    per_method = settings.get('per_method', {})
    if not isinstance(per_method, dict):
        raise StudyError(
            f'{where}.per_method={per_method!r}: expected a dict of options by method.'
        )
    _check_choices(f'{where}.per_method', per_method, methods, 'method')
    per_method = {key: _options(f'{where}.per_method.{key}', v) for key, v in per_method.items()}
    options = _options(f'{where}.cfg_options', settings.get('cfg_options', {}))
    return Arm(config, options, candidates, per_method)


def _runs(
    settings: Any, methods: Mapping[str, Method], arms: Mapping[str, Arm]
) -> list[PlannedRun]:
    found: dict[PlannedRun, None] = {}
    for number, one in enumerate(_list('runs', settings)):
        where = f'runs.{number}'
        if not isinstance(one, dict):
            raise StudyError(
                f'{where}={one!r}: expected a dict, dict(methods=[...], arms=[...], epochs=[...], '
                'seeds=[...]).'
            )
        _check_keys(where, one, ('methods', 'arms', 'epochs', 'seeds'))
        for key in ('epochs', 'seeds'):
            if key not in one:
                raise StudyError(f'{where}.{key} is missing: give a list of whole numbers.')
        chosen_methods = _list(f'{where}.methods', one.get('methods', list(methods)))
        chosen_arms = _list(f'{where}.arms', one.get('arms', list(arms)))
        _check_choices(f'{where}.methods', chosen_methods, methods, 'method')
        _check_choices(f'{where}.arms', chosen_arms, arms, 'arm')
        lengths = [_whole(f'{where}.epochs', x, 1) for x in _list(f'{where}.epochs', one['epochs'])]
        seeds = [
            _whole(f'{where}.seeds', x, 0, _LARGEST_SEED)
            for x in _list(f'{where}.seeds', one['seeds'])
        ]
        for method in chosen_methods:
            for arm in chosen_arms:
                if arms[arm].config not in methods[method].configs:
                    raise StudyError(
                        f'{where}: arm {arm!r} takes config={arms[arm].config!r}, which method '
                        f'{method!r} does not have: name it there, or leave one of them out here.'
                    )
        found.update(
            dict.fromkeys(
                PlannedRun(method, arm, length, seed)
                for seed in seeds
                for method in chosen_methods
                for arm in chosen_arms
                for length in lengths
            )
        )
    # A study that is stopped early has all arms of its first seeds.
    return sorted(found, key=lambda run: run.seed)


def _evaluation(settings: Any) -> Evaluation:
    if not isinstance(settings, dict):
        raise StudyError(f'evaluation={settings!r}: expected a dict with knn and linear.')
    _check_keys('evaluation', settings, ('knn', 'linear'))
    knn, linear = settings.get('knn', {}), settings.get('linear', {})
    if not isinstance(knn, dict):
        raise StudyError(f'evaluation.knn={knn!r}: expected a dict, dict(k=20, interval=1).')
    known = ('k', 'interval', *(name for name in KNNSettings.__dataclass_fields__ if name != 'k'))
    _check_keys('evaluation.knn', knn, known)
    others = {key: value for key, value in knn.items() if key not in ('k', 'interval')}
    k = _whole('evaluation.knn.k', knn.get('k', 20), 1)
    interval = _whole('evaluation.knn.interval', knn.get('interval', 1), 1)
    for name in ('temperature', 'batch_size'):
        if name in others and not isinstance(others[name], (int, float)):
            raise StudyError(f'evaluation.knn.{name}={others[name]!r}: expected a number.')
    try:
        neighbors = KNNSettings(k=k, **{'num_workers': 0, **others})
    except (TypeError, ValueError) as error:
        raise StudyError(f'evaluation.knn: {error}') from error
    if linear is None:
        return Evaluation(neighbors, interval, None)
    if not isinstance(linear, dict):
        raise StudyError(
            f'evaluation.linear={linear!r}: expected dict(C=1.0), or None for no linear evaluation.'
        )
    _check_keys('evaluation.linear', linear, ('C',))
    c = linear.get('C', 1.0)
    if isinstance(c, bool) or not isinstance(c, (int, float)) or not 0 < c < float('inf'):
        raise StudyError(f'evaluation.linear.C={c!r}: expected a positive number, such as 1.0.')
    return Evaluation(neighbors, interval, float(c))


def _named(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise StudyError(f'{where}={value!r}: expected a dict with at least one name.')
    for name in value:
        _check_name(where, name)
    return value


def is_name(value: Any) -> bool:
    """Whether something can be the name of a study, a method or an arm."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _check_name(where: str, name: Any) -> None:
    if not is_name(name):
        raise StudyError(
            f'{where}: {name!r} becomes a part of file names: letters, digits, "_" and "." only, '
            'with no "." or "_" in front.'
        )


def _check_keys(where: str, settings: dict[str, Any], known: Sequence[str]) -> None:
    for key in settings:
        if key not in known:
            close = get_close_matches(str(key), known, n=1)
            hint = f'did you mean {close[0]!r}?' if close else f'expected one of {list(known)}.'
            place = f'{where}.{key}' if where else key
            raise StudyError(f'{place}={settings[key]!r}: there is no such setting; {hint}')


def _check_choices(where: str, chosen: Iterable[Any], known: Iterable[str], what: str) -> None:
    known = list(known)
    for name in chosen:
        if name not in known:
            raise StudyError(f'{where}: there is no {what} {name!r}, expected some of {known}.')


def _options(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise StudyError(
            f"{where}={value!r}: expected settings by dotted keys, {{'model.selector': 'random'}}."
        )
    return value


def _list(where: str, value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)) or not value:
        raise StudyError(f'{where}={value!r}: expected a list that is not empty.')
    return list(value)


def _whole(where: str, value: Any, minimum: int, maximum: int | None = None) -> int:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or value < minimum or (maximum is not None and value > maximum):
        upper = f' and at most {maximum}' if maximum is not None else ''
        raise StudyError(f'{where}: {value!r} must be a whole number, at least {minimum}{upper}.')
    return value
