"""A training step with hard view selection, against one without, part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.utils.flop_counter import (
    FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from ..models.hvs_algorithm import HVSAlgorithm
from ..utils.precision import full_precision
from ..utils.state_guard import preserve_state
from .clock import Clock, Times, summarize
from .memory import peak_memory
from .random_batch import Batch

#: Parts of a step with selection, in their order.
PARTS = ('forward', 'pair_loss', 'pick', 'gather', 'train')
Shape = torch.Size
#: Share of the student in an update of a teacher; any number costs the same.
_MOMENTUM = 0.004


@dataclass(frozen=True)
class StepCost:
    """What a step costs; times in seconds, memory in bytes.

    Attributes:
        vanilla: A step of the baseline on as many views as are kept.
        hvs: A step with selection; the mean over ``interval`` steps where that is set.
        parts: The parts of a step that selects for all samples: ``forward`` of the candidates,
            ``pair_loss``, ``pick``, ``gather`` and ``train``. Not compiled.
        bare: A bare forward of all candidates as they are: no gradient and nothing else.
        reused: What of the vanilla step selection has computed already: its teacher, where the
            outputs of the kept views are the same.
        ratio: ``hvs`` over ``vanilla``, from pairs measured next to each other.
        measured_floor: ``(bare + vanilla - reused) / vanilla``, from the same pairs.
        counted_floor: The same in floating-point operations, of matrix products, convolutions and
            attention. Both floors are those of a full selection in every step for every sample.
        over_measured: ``ratio`` over ``measured_floor``.
        over_counted: ``ratio`` over ``counted_floor``.
        selecting: ``pair_loss``, ``pick`` and ``gather`` together, over the sum of all parts.
        vanilla_memory: Peak of a vanilla step; ``None`` if not measured.
        hvs_memory: Peak of a step with selection.
        batch_size: Images in the batch.
    """

    vanilla: Times
    hvs: Times
    parts: dict[str, Times]
    bare: Times
    reused: Times
    ratio: Times
    measured_floor: Times
    counted_floor: float
    over_measured: Times
    over_counted: Times
    selecting: Times
    vanilla_memory: int | None
    hvs_memory: int | None
    batch_size: int

    def images_per_second(self) -> tuple[float, float]:
        """Of the vanilla step and of the one with selection."""
        return self.batch_size / self.vanilla.median, self.batch_size / self.hvs.median

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Steps:
    """The steps that are compared, on the same model with the same optimizer.

    Args:
        model: In train mode, on the device of the batches.
        optim_wrapper: For its parameters.
        draw: Draws a batch of the candidates at the given positions, ``None`` for all.
        autocast: Gives the context in which forward passes run.
        compile_loss: Applied to the losses of both kinds of step, such as ``torch.compile``.
    """

    def __init__(
        self,
        model: HVSAlgorithm,
        optim_wrapper: OptimWrapper,
        draw: Callable[[list[int] | None], Batch],
        autocast: Callable[[], AbstractContextManager],
        compile_loss: Callable[[Callable], Callable] = lambda loss: loss,
    ) -> None:
        self.model, self.optim_wrapper = model, optim_wrapper
        self.draw, self.autocast = draw, autocast
        self.algorithm = model.algorithm
        groups = model.groups(draw(None).views)
        self.groups = groups
        self.kept = groups.first_views()
        self.reuses_teacher = self._reuses_teacher(draw(None))
        self._vanilla_loss = compile_loss(lambda *batch: self.algorithm.loss(*batch))
        self._hvs_loss = compile_loss(lambda *batch: model.loss(*batch))
        self._bare = compile_loss(self._forward_candidates)

    def vanilla(self, batch: Batch) -> None:
        """A step of the baseline on ``keep`` views."""
        with self.autocast():
            losses = self._vanilla_loss(batch.views, batch.samples)
        self._update(losses)

    def hvs(self, batch: Batch) -> None:
        """A step with selection."""
        with self.autocast():
            losses = self._hvs_loss(batch.views, batch.samples)
        self._update(losses)

    def hvs_in_parts(self, batch: Batch, clock: Clock) -> None:
        """A step that selects for all samples, with the time of each part."""
        model, algorithm, pass_ = self.model, self.algorithm, self.model.selection_pass
        views, num_targets = batch.views, self.groups.num_targets
        pair_loss = model.pair_loss
        with self.autocast():
            extras = pair_loss.target_inputs(algorithm, views, num_targets, batch.samples)
            with torch.no_grad():
                with clock.part('forward'), preserve_state(algorithm):
                    subsets = pass_.draw_subsets()
                    outputs = pass_.forward(algorithm, views, num_targets, extras, subsets)
                with clock.part('pair_loss'):
                    losses_of_pairs = pass_.form(algorithm, outputs).float()
                torch.clear_autocast_cache()
                with clock.part('pick'):
                    select = full_precision(model.selector)
                    selection = select(losses_of_pairs, self.groups, pass_.weights)
                with clock.part('gather'):
                    extras = {**extras, **pass_.reusable(algorithm, outputs)}
                    kept = selection.indices[:, : self.groups.num_kept_targets]
                    known = pair_loss.of_kept(extras, kept, self.groups)
                    views = model.gather(views, selection.indices)
                del extras, outputs
            train = clock.start()
            losses = algorithm.loss(views, batch.samples, **known)
        self._update(losses)
        clock.stop('train', train)

    def bare(self, batch: Batch) -> None:
        """The candidates forward, and nothing else."""
        num_targets, pair_loss = self.groups.num_targets, self.model.pair_loss
        with self.autocast(), torch.no_grad():
            extras = pair_loss.target_inputs(
                self.algorithm, batch.views, num_targets, batch.samples
            )
            self._bare(batch.views, extras)
        torch.clear_autocast_cache()

    def _forward_candidates(self, views: list[Tensor], extras: dict[str, Tensor]) -> Any:
        pair_loss, num_targets = self.model.pair_loss, self.groups.num_targets
        return pair_loss.forward(self.algorithm, views, num_targets, **extras)

    def _reuses_teacher(self, batch: Batch) -> bool:
        """Whether the training step takes the teacher's outputs from an exact selection pass."""
        pair_loss, num_targets = self.model.pair_loss, self.groups.num_targets
        with torch.no_grad(), preserve_state(self.algorithm):
            extras = pair_loss.target_inputs(
                self.algorithm, batch.views, num_targets, batch.samples
            )
            outputs = pair_loss.forward(self.algorithm, batch.views, num_targets, **extras)
            return bool(pair_loss.reusable(self.algorithm, outputs))

    def _update(self, losses: dict[str, Tensor]) -> None:
        loss, _ = self.model.parse_losses(losses)
        self.optim_wrapper.update_params(loss)
        if hasattr(self.algorithm, 'update_teacher'):
            self.algorithm.update_teacher(_MOMENTUM)


@contextmanager
def outermost_calls(
    module: nn.Module, enter: Callable[[], None], leave: Callable[[], None]
) -> Iterator[None]:
    """Be told when work inside a module begins and ends, not of calls within calls.

    Args:
        module: Any module; its submodules may be called directly, too.
        enter: Called before.
        leave: Called after.
    """
    depth = 0

    def before(*args: Any) -> None:
        nonlocal depth
        if depth == 0:
            enter()
        depth += 1

    def after(*args: Any) -> None:
        nonlocal depth
        depth -= 1
        if depth == 0:
            leave()

    handles = []
    for part in module.modules():
        handles += [part.register_forward_pre_hook(before), part.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def operation_counter() -> FlopCounterMode:
    """Counts floating-point operations of matrix products, convolutions and attention."""
    aten = torch.ops.aten
    # torch (2.5, 2.10) has no formula for the kernels of attention on the CPU.
    attention = {
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    }
    return FlopCounterMode(display=False, custom_mapping=attention)


def _attention(query: Shape, key: Shape, value: Shape, *args: Any, **kwargs: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(
    gradient: Shape, query: Shape, key: Shape, value: Shape, *args: Any, **kwargs: Any
) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


def count_operations(work: Callable[[], object]) -> int:
    """Floating-point operations of some work, see :func:`operation_counter`."""
    with operation_counter() as counter:
        work()
    return counter.get_total_flops()


def counted_floor(steps: Steps) -> float:
    """``(candidates forward once + vanilla step - reused) / vanilla``, in operations."""
    candidates, kept = steps.draw(None), steps.draw(steps.kept)
    forward, reused, begun = count_operations(lambda: steps.bare(candidates)), 0, 0
    with operation_counter() as counter:

        def enter() -> None:
            nonlocal begun
            begun = counter.get_total_flops()

        def leave() -> None:
            nonlocal reused
            reused += counter.get_total_flops() - begun

        with _teacher_calls(steps, enter, leave):
            steps.vanilla(kept)
    vanilla = counter.get_total_flops()
    return (forward + vanilla - reused) / vanilla


@contextmanager
def _teacher_calls(
    steps: Steps, enter: Callable[[], None], leave: Callable[[], None]
) -> Iterator[None]:
    """Be told of the teacher's work, if selection has done it already."""
    if not steps.reuses_teacher:
        yield
        return
    with outermost_calls(steps.algorithm.teacher, enter, leave):
        yield


def measure_step(steps: Steps, device: torch.device, repeats: int, memory: bool = True) -> StepCost:
    """Measure the steps in turn, ``repeats`` times, after one round that does not count.

    Args:
        steps: What to measure.
        device: Where they run.
        repeats: Repetitions.
        memory: Whether to measure the peaks of memory, too.
    """
    clock = Clock(device)
    rounds = [_measure_round(steps, clock) for _ in range(repeats + 1)][1:]
    floor = counted_floor(steps)
    peaks: list[int | None] = [None, None]
    if memory:
        # The batch is part of what a step needs.
        peaks = [
            peak_memory(lambda: steps.vanilla(steps.draw(steps.kept)), device),
            peak_memory(lambda: steps.hvs(steps.draw(None)), device),
        ]

    def over(quantity: Callable[[dict[str, float]], float]) -> Times:
        return summarize([quantity(times) for times in rounds])

    def measured_floor(t: dict[str, float]) -> float:
        return (t['bare'] + t['vanilla'] - t['reused']) / t['vanilla']

    return StepCost(
        vanilla=over(lambda t: t['vanilla']),
        hvs=over(lambda t: t['hvs']),
        parts={part: over(lambda t, part=part: t[part]) for part in PARTS},
        bare=over(lambda t: t['bare']),
        reused=over(lambda t: t['reused']),
        ratio=over(lambda t: t['hvs'] / t['vanilla']),
        measured_floor=over(measured_floor),
        counted_floor=floor,
        over_measured=over(lambda t: t['hvs'] / t['vanilla'] / measured_floor(t)),
        over_counted=over(lambda t: t['hvs'] / t['vanilla'] / floor),
        selecting=over(
            lambda t: (t['pair_loss'] + t['pick'] + t['gather']) / sum(t[part] for part in PARTS)
        ),
        vanilla_memory=peaks[0],
        hvs_memory=peaks[1],
        batch_size=len(steps.draw(steps.kept).views[0]),
    )


def _measure_round(steps: Steps, clock: Clock) -> dict[str, float]:
    candidates, kept = steps.draw(None), steps.draw(steps.kept)
    times: dict[str, float] = {'reused': 0.0}
    with clock.part('vanilla'):
        steps.vanilla(kept)
    times.update(clock.read())
    interval = steps.model.schedule.interval
    with clock.part('hvs'):
        for _ in range(interval):
            steps.hvs(candidates)
    times['hvs'] = clock.read()['hvs'] / interval
    with clock.part('bare'):
        steps.bare(candidates)
    times.update(clock.read())
    started: list[object] = []
    calls = _teacher_calls(
        steps,
        lambda: started.append(clock.start()),
        lambda: clock.stop('reused', started.pop()),
    )
    # In a step of its own, without the compiler, which would not call the hooks.
    with calls, steps.autocast():
        steps.algorithm.loss(kept.views, kept.samples)
    times.update(clock.read())
    steps.hvs_in_parts(candidates, clock)
    times.update(clock.read())
    return times
