"""Random settings, views and samples: brute force agrees, or a documented error refuses them."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from mmengine.logging import MessageHub
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from hvs_mm.models import HVSAlgorithm
from tests.helpers import tiny, tiny_dino
from tests.helpers.brute_force import admissible_by_hand, pair_loss_by_hand, score_by_hand
from tests.helpers.fuzzing import RefusedError, fuzz, may_refuse
from tests.helpers.states import assert_same_state, full_state

pytestmark = pytest.mark.slow
TWO_VIEWS = ('SimSiam', 'BYOL', 'SimCLR')
METHODS = (*TWO_VIEWS, 'DINO', 'IBOT')
PATCH = tiny_dino.PATCH


@cache
def built(method: str) -> nn.Module:
    """An algorithm without BatchNorm, whose teacher or target is not its student."""
    torch.manual_seed(0)
    if method not in TWO_VIEWS:
        return tiny_dino.build_dino(method)
    algorithm = tiny.build_algorithm(method, tiny.GROUP_NORM)
    if method == 'BYOL':
        algorithm.target_net.steps += 1
        for parameter in algorithm.target_net.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    return algorithm


def fresh(method: str, keep: Any) -> nn.Module:
    algorithm = deepcopy(built(method))
    if method not in TWO_VIEWS and is_counts(keep):
        algorithm.head.num_crops = max(2, sum(keep))
    return algorithm


# --- Settings --------------------------------------------------------------------------------

NUMBERS = st.one_of(st.integers(-2, 5), st.floats(-1, 2), st.sampled_from([math.nan, math.inf]))
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    st.text(max_size=3),
    st.binary(max_size=2),
    st.lists(st.one_of(st.none(), st.booleans(), NUMBERS), max_size=3),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.dictionaries(st.sampled_from(['type', 'max_comparisons', 'x']), NUMBERS, max_size=2),
    st.sampled_from([np.int64(2), np.array([2]), torch.tensor(1), {1}, object, [[1]], ['2']]),
)
SHARES = st.sampled_from([1, 1.0, 0.5, 0.25, 1e-9])
GOOD: dict[str, st.SearchStrategy] = {
    'selector': st.one_of(
        st.sampled_from(['hardest', 'easiest', 'random', {'type': 'RandomSelector'}]),
        st.sampled_from(['softened', 'per_group']),
        st.just('hardest'),
        st.builds(
            lambda kind, most: {'type': kind, 'max_comparisons': most},
            st.sampled_from(['hardest', 'easiest', 'HardestSelector']),
            st.sampled_from([1, 2, 100, None]),
        ),
    ),
    'target_groups': st.sampled_from([None, [0], [0, 1], (0,), [0, 1, 2]]),
    'scale': SHARES,
    'tokens': SHARES,
    'depth': st.sampled_from([None, 1, 2, 4]),
    'dtype': st.sampled_from([None, 'bfloat16', 'float16']),
    'interval': st.integers(1, 3),
    'warmup': st.sampled_from([0, 0, 0, 0, 1, 2]),
    'prob': SHARES,
}
NESTED = {
    'selection_pass': ('scale', 'tokens', 'depth', 'dtype'),
    'schedule': ('interval', 'warmup', 'prob'),
}
COUNTS = st.lists(st.integers(1, 4), min_size=1, max_size=3)


def nested(settings: dict[str, Any]) -> dict[str, Any]:
    """The arguments of ``HVSAlgorithm`` for settings that are drawn one by one."""
    flat = {name: value for name, value in settings.items() if name not in sum(NESTED.values(), ())}
    return flat | {
        setting: {key: settings[key] for key in keys if key in settings}
        for setting, keys in NESTED.items()
    }


def is_number(value: Any) -> bool:
    return type(value) in (int, float)


def is_counts(value: Any) -> bool:
    is_list = type(value) in (list, tuple) and len(value) > 0
    return is_list and all(type(number) is int and number >= 1 for number in value)


def is_selector(value: Any) -> bool:
    names = ('hardest', 'easiest', 'random', 'HardestSelector', 'EasiestSelector', 'RandomSelector')
    if isinstance(value, str):
        return value in (*names, 'softened', 'per_group')
    if type(value) is not dict or value.get('type') not in names:
        return False
    rest = {key: number for key, number in value.items() if key != 'type'}
    if 'andom' in value['type']:
        return not rest
    most = rest.pop('max_comparisons', None)
    return not rest and (most is None or (type(most) is int and most >= 1))


def flaws(method: str, given: dict[str, Any]) -> set[str]:
    """What is wrong with arguments, by name: the rules of the documentation, once more."""
    candidates, keep = given['candidates'], given['keep']
    wrong = {name for name in ('candidates', 'keep') if not is_counts(given[name])}
    if not wrong:
        too_many = any(kept > drawn for drawn, kept in zip(candidates, keep))
        two = method in TWO_VIEWS
        if len(candidates) != len(keep) or too_many or sum(keep) < 2 or (two and sum(keep) != 2):
            wrong |= {'candidates', 'keep'}
    groups = given['target_groups']
    if groups is not None:
        is_list = type(groups) in (list, tuple) and all(type(group) is int for group in groups)
        number = len(candidates) if is_counts(candidates) else 99
        if (
            not is_list
            or not 1 <= len(groups) <= number
            or list(groups) != list(range(len(groups)))
            or (method in TWO_VIEWS and len(groups) != number)
        ):
            wrong.add('target_groups')
    if not is_selector(given['selector']):
        wrong.add('selector')
    for name in ('scale', 'tokens', 'prob'):
        if not is_number(given[name]) or not 0 < given[name] <= 1:
            wrong.add(name)
    if method in TWO_VIEWS and is_number(given['tokens']) and given['tokens'] < 1:
        wrong.add('tokens')
    depth, layers = given['depth'], 4 if method in TWO_VIEWS else 2
    if depth is not None and (type(depth) is not int or not 1 <= depth <= layers):
        wrong.add('depth')
    dtype = given['dtype']
    if dtype is not None and (type(dtype) is not str or dtype not in ('bfloat16', 'float16')):
        wrong.add('dtype')
    for name, least in (('interval', 1), ('warmup', 0)):
        if type(given[name]) is not int or given[name] < least:
            wrong.add(name)
    return wrong


@st.composite
def arguments(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    given = {'candidates': draw(COUNTS), 'keep': draw(COUNTS)}
    given |= {name: draw(good) for name, good in GOOD.items()}
    if draw(st.integers(0, 3)):
        # Right ones.
        given |= draw(
            st.sampled_from(
                [
                    {'candidates': [4], 'keep': [2], 'target_groups': None},
                    {'candidates': [2, 3], 'keep': [1, 1]},
                ]
            )
        )
        given |= {'target_groups': None, 'tokens': 1, 'depth': None}
    for name in draw(st.lists(st.sampled_from([*given]), max_size=2)):
        given[name] = draw(JUNK)
    return draw(st.sampled_from(METHODS)), given


def check_arguments(example: tuple[str, dict[str, Any]]) -> str:
    method, given = example
    wrong = flaws(method, given)
    # What says max_comparisons is an argument of the selector.
    names = {*wrong, *(['max_comparisons'] if 'selector' in wrong else [])}
    refused = ''
    try:
        with may_refuse(*names):
            HVSAlgorithm(fresh(method, given['keep']), **nested(given))
    except RefusedError as error:
        refused = str(error)
    assert bool(refused) == bool(wrong), refused or 'not refused'
    return 'refused' if refused else 'built'


def test_arguments() -> None:
    fuzz('arguments', 200, arguments(), check_arguments)


# --- A step ----------------------------------------------------------------------------------


@dataclass
class Case:
    """A model and a batch.

    Attributes:
        method: Its name.
        settings: Arguments of ``HVSAlgorithm``, all of them right.
        views: Views of the batch.
        masks: Masks of iBOT, (B, T, h, w) bool, T the target views.
        samples: Data samples.
        flaw: What was made wrong of the batch; empty if nothing.
        seed: Seed for all random draws.
    """

    method: str
    settings: dict[str, Any]
    views: Any
    masks: Tensor | None
    samples: Any
    flaw: str = ''
    seed: int = 0
    sizes: list[tuple[int, int]] = field(default_factory=list)

    @property
    def num_targets(self) -> int:
        """T: every view of two-view methods, else those of the first one's size."""
        if self.method in TWO_VIEWS:
            return len(self.views)
        return sum(size == self.sizes[0] for size in self.sizes)


def spoil_nothing(case: Case, draw: st.DrawFn) -> None:
    pass


def with_strides(case: Case, draw: st.DrawFn) -> None:
    case.views = [view.transpose(2, 3).contiguous().transpose(2, 3) for view in case.views]


def as_tuple(case: Case, draw: st.DrawFn) -> None:
    case.views = tuple(case.views)


#: Changes that alter nothing.
HARMLESS = {'': spoil_nothing, 'with strides': with_strides, 'as a tuple': as_tuple}


def one_less(case: Case, draw: st.DrawFn) -> None:
    case.views = case.views[:-1]


def one_more(case: Case, draw: st.DrawFn) -> None:
    case.views = [*case.views, case.views[-1]]


def other_dtype(case: Case, draw: st.DrawFn) -> None:
    dtypes = [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool]
    dtype, which = draw(st.sampled_from(dtypes)), draw(st.integers(-1, len(case.views) - 1))
    case.views = [
        view.to(dtype) if which in (-1, number) else view for number, view in enumerate(case.views)
    ]


def other_rank(case: Case, draw: st.DrawFn) -> None:
    which = draw(st.integers(-1, len(case.views) - 1))
    change = draw(st.sampled_from([lambda v: v[0], lambda v: v[None], lambda v: v.flatten()]))
    case.views = [
        change(view) if which in (-1, number) else view for number, view in enumerate(case.views)
    ]


def empty_batch(case: Case, draw: st.DrawFn) -> None:
    case.views = [view[:0] for view in case.views]
    case.samples = case.samples[:0]


def smaller_batch_of_one_view(case: Case, draw: st.DrawFn) -> None:
    which = draw(st.integers(0, len(case.views) - 1))
    case.views = [torch.cat([v, v]) if n == which else v for n, v in enumerate(case.views)]


def empty_picture(case: Case, draw: st.DrawFn) -> None:
    case.views = [view[:, :, :0] for view in case.views]


def no_tensors(case: Case, draw: st.DrawFn) -> None:
    views = case.views
    case.views = draw(
        st.sampled_from(
            [None, 3, 'views', [], [None] * len(views), [v.numpy() for v in views], views[0]]
        )
    )


def odd_size_in_a_group(case: Case, draw: st.DrawFn) -> None:
    group = draw(st.integers(0, len(case.settings['candidates']) - 1))
    which = sum(case.settings['candidates'][:group])
    case.views[which] = torch.nn.functional.pad(case.views[which], (0, PATCH, 0, 0))
    if case.settings['candidates'][group] == 1:
        # A group of one has no other view to differ from.
        one_less(case, draw)


def not_finite(case: Case, draw: st.DrawFn) -> None:
    bad = draw(st.sampled_from([math.nan, math.inf, -math.inf]))
    which, sample = draw(st.integers(0, len(case.views) - 1)), len(case.views[0]) - 1
    case.views[which] = case.views[which].clone()
    case.views[which][sample, 0, 0, 0] = bad


def wrong_samples(case: Case, draw: st.DrawFn) -> None:
    samples = case.samples
    case.samples = draw(st.sampled_from([[], samples[:-1], [*samples, samples[0]], 3, 'xyz', {}]))
    if isinstance(case.samples, str) and len(case.samples) == len(samples):
        case.samples = None if case.method == 'IBOT' else []


FLAWS = {
    'views': [
        one_less, one_more, other_dtype, other_rank, empty_batch, smaller_batch_of_one_view,
        empty_picture, no_tensors, odd_size_in_a_group, not_finite,
    ],
    'samples': [wrong_samples],
}  # fmt: skip


def wrong_masks(case: Case, draw: st.DrawFn) -> None:
    """Masks of iBOT that are missing, or of another kind, shape or dtype."""
    masks = case.masks.numpy()
    kinds = [
        lambda mask: None,
        lambda mask: mask.tolist(),
        lambda mask: torch.from_numpy(mask),
        lambda mask: mask.astype(np.int64),
        lambda mask: mask.astype(np.float32),
        lambda mask: mask[:0],
        lambda mask: mask[:, :-1],
        lambda mask: mask[..., None],
        lambda mask: mask[0],
        lambda mask: mask.astype(object),
        lambda mask: np.full(mask.shape, 'x'),
        lambda mask: 'mask',
        lambda mask: np.bool_(True),
    ]
    change = draw(st.sampled_from(kinds))
    which = draw(st.integers(-1, len(masks) - 1))
    case.samples = [
        DataSample(metainfo={'view_masks': change(mask) if which in (-1, number) else mask})
        for number, mask in enumerate(masks)
    ]


@st.composite
def cases(draw: st.DrawFn, method: str) -> Case:
    settings = {name: draw(good) for name, good in GOOD.items() if name != 'target_groups'}
    if not draw(st.booleans()):
        # Without estimates, which hide the exact numbers.
        settings |= {'tokens': 1.0, 'dtype': None}
    if method in TWO_VIEWS:
        settings['tokens'] = 1.0
        candidates = draw(st.lists(st.integers(1, 4), min_size=1, max_size=2))
        keep = [2] if len(candidates) == 1 else [1, 1]
        candidates = [max(2, candidates[0])] if len(candidates) == 1 else candidates
        sides = st.tuples(st.integers(1, 40), st.integers(1, 40))
        sizes = [draw(sides) for _ in candidates]
    else:
        settings['depth'] = draw(st.sampled_from([None, None, 1, 2]))
        num_global, num_local = draw(st.integers(1, 2)), draw(st.sampled_from([0, 1, 1]))
        candidates = draw(
            st.lists(
                st.integers(1, 3),
                min_size=num_global + num_local,
                max_size=num_global + num_local,
            )
        )
        keep = [draw(st.integers(1, drawn)) for drawn in candidates]
        if sum(keep) < 2:
            candidates[0], keep[0] = max(2, candidates[0]), 2
        whole = st.tuples(st.integers(1, 4), st.integers(1, 4))
        large = draw(whole)
        small = draw(whole.filter(lambda size: size != large))
        grids = [large] * num_global + [small] * num_local
        sizes = [(PATCH * rows, PATCH * columns) for rows, columns in grids]
    sizes = [size for size, drawn in zip(sizes, candidates) for _ in range(drawn)]
    batch_size, seed = draw(st.integers(1, 4)), draw(st.integers(0, 2**31))
    generator = torch.Generator().manual_seed(seed)
    views = [torch.randn(batch_size, 3, *size, generator=generator) for size in sizes]
    settings |= {'candidates': candidates, 'keep': keep}
    case = Case(method, settings, views, None, None, seed=seed, sizes=sizes)
    case.samples = [DataSample() for _ in range(batch_size)]
    if method == 'IBOT':
        grid = [side // PATCH for side in sizes[0]]
        share = draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))
        shape = (batch_size, case.num_targets, *grid)
        case.masks = torch.rand(shape, generator=generator) < share
        case.samples = tiny_dino.samples_with(case.masks)
    elif draw(st.booleans()):
        case.samples = None
    if draw(st.integers(0, 4)):
        HARMLESS[draw(st.sampled_from([*HARMLESS]))](case, draw)
        return case
    possible = [*FLAWS['views'], *(FLAWS['samples'] if case.samples else [])]
    spoil = draw(st.sampled_from([*possible, *([wrong_masks] * 4 if method == 'IBOT' else [])]))
    if spoil is not empty_batch or case.samples is not None:
        spoil(case, draw)
        case.flaw = spoil.__name__
    return case


def close(value: float, expected: float, tolerance: float = 2e-4) -> bool:
    if not math.isfinite(expected):
        return not math.isfinite(value)
    return abs(value - expected) <= tolerance * max(1.0, abs(expected))


def check_step(case: Case) -> str:
    hub = MessageHub.get_current_instance()
    for name in ('iter', 'epoch'):
        hub.update_info(name, None)
    torch.manual_seed(case.seed)
    model = HVSAlgorithm(fresh(case.method, case.settings['keep']), **nested(case.settings))
    before = deepcopy(model)
    try:
        with may_refuse():
            selection = model.select_views(case.views, case.samples)
    except RefusedError as error:
        refuse(case, str(error))
        selection = None
    if selection is not None and case.flaw not in ('not_finite',):
        assert_same_state(full_state(before), full_state(model))
        check_selection(case, before, selection, range(len(case.views[0])))
    try:
        with may_refuse():
            outcome = check_loss(case, model, before)
    except RefusedError as error:
        refuse(case, str(error))
        return f'refused ({case.flaw or "sizes"})'
    harmless = ('wrong_masks',)
    assert not case.flaw or case.flaw in harmless, 'not refused'
    return outcome


def refuse(case: Case, message: str) -> None:
    """Say whether an error is right."""
    has_sizes = len(set(case.sizes)) > 1
    is_right = (
        case.flaw
        or ('selection_pass.scale' in message and has_sizes and case.settings['scale'] < 1)
        or ('one size' in message and has_sizes and case.method == 'SimCLR')
    )
    assert is_right, message


def check_selection(
    case: Case, model: HVSAlgorithm, selection: Any, samples: Any, by_hand: bool = True
) -> None:
    """Compare a selection for some samples of the batch with brute force.

    Args:
        case: What the model was given.
        model: As it was before.
        selection: What it has selected.
        samples: Positions of the samples it has selected for.
        by_hand: Whether to compute the losses of the pairs, too.
    """
    settings = case.settings
    views = [view[list(samples)] for view in case.views]
    masks = None if case.masks is None else case.masks[list(samples)]
    found = selection.pair_loss.tolist()
    exact = settings['tokens'] == 1 and settings['dtype'] is None
    depth = settings['depth']
    num_targets = case.num_targets
    if exact and by_hand:
        expected = pair_loss_by_hand(
            model.algorithm, views, num_targets, masks, settings['scale'], depth
        )
        for b, t, s in np.ndindex(len(views[0]), num_targets, len(views)):
            if not math.isnan(expected[b][t][s]):
                assert close(found[b][t][s], expected[b][t][s]), (b, t, s)
    head = model.algorithm.head
    has_diagonal = case.method == 'IBOT' and depth is None
    weights = (head.cls_weight, head.patch_weight) if has_diagonal else ()
    options = admissible_by_hand(settings['candidates'], settings['keep'])
    selector = settings['selector']
    kind = selector if isinstance(selector, str) else selector['type']
    limit = None if isinstance(selector, str) else selector.get('max_comparisons')
    sign = -1 if kind.lower().startswith('easiest') else 1
    assert selection.indices.shape == (len(views[0]), sum(settings['keep']))
    for b, kept in enumerate(map(tuple, selection.indices.tolist())):
        assert kept in options
        scores = [score_by_hand(found[b], option, num_targets, *weights) for option in options]
        score = scores[options.index(kept)]
        assert close(float(selection.score[b]), score)
        if not math.isfinite(score):
            # Only where nothing is finite.
            assert limit is not None or not any(map(math.isfinite, scores))
        elif limit is None or limit >= len(options):
            best = max(sign * other for other in scores if math.isfinite(other))
            if kind.lower().startswith(('hardest', 'easiest')):
                assert sign * score >= best - 1e-4 * max(1, abs(best))


def check_loss(case: Case, model: HVSAlgorithm, before: HVSAlgorithm) -> str:
    """A step or two: selected when and for whom it is to be, and the loss is that of kept views."""
    interval, warmup, prob = (case.settings[name] for name in ('interval', 'warmup', 'prob'))
    outcome = ''
    # The second one tells of the interval, and of what the first has left behind.
    for step in range(1 + case.seed % 2):
        before.load_state_dict(model.state_dict())
        losses = model.loss(case.views, case.samples)
        selection = model.last_selection
        batch_size = len(case.views[0])
        is_due = step % interval == 0 and warmup == 0
        assert (selection is not None) == is_due
        kept = [first_by_hand(case.settings) for _ in range(batch_size)]
        if is_due:
            least = 2 if case.method == 'SimCLR' else 1
            count = min(batch_size, max(least, round(prob * batch_size)))
            chosen = range(batch_size) if count == batch_size else selection.samples.tolist()
            assert len(set(chosen)) == count == len(selection.indices)
            # For the whole batch select_views has been asked before.
            check_selection(case, before, selection, chosen, count < batch_size or step > 0)
            for sample, indices in zip(chosen, selection.indices.tolist()):
                kept[sample] = indices
            outcome = 'selected'
        kept_views = [
            torch.stack([case.views[kept[b][k]][b] for b in range(batch_size)])
            for k in range(len(kept[0]))
        ]
        samples = case.samples
        if case.masks is not None:
            targets = sum(view < case.num_targets for view in kept[0])
            samples = [
                DataSample(metainfo={'view_masks': case.masks[b, kept[b][:targets]].numpy()})
                for b in range(batch_size)
            ]
        expected = before.algorithm.loss(kept_views, samples)
        assert close(losses['loss'].item(), expected['loss'].item()), (losses, expected)
        gradients = [grad_of(model, losses['loss']), grad_of(before, expected['loss'])]
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)
    return outcome or 'not selected'


def grad_of(model: nn.Module, loss: Tensor) -> Tensor:
    parameters = [p for p in model.backbone.parameters() if p.requires_grad]
    (gradient,) = torch.autograd.grad(loss, parameters[-1:], allow_unused=True)
    return torch.zeros(()) if gradient is None else gradient


def first_by_hand(settings: dict[str, Any]) -> list[int]:
    start, first = 0, []
    for drawn, kept in zip(settings['candidates'], settings['keep']):
        first += list(range(start, start + kept))
        start += drawn
    return first


@pytest.mark.parametrize('method', METHODS)
def test_steps(method: str, no_runner: None) -> None:
    fuzz(f'steps of {method}', 50, cases(method), check_step)
