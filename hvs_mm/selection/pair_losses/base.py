"""The interface of pair losses, and which algorithm has which."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...utils.registry import TASK_UTILS, build_part
from ..groups import ViewGroups
from ..output_sums import OutputSums
from ..scores import ScoreWeights

#: A ``BaseSelfSupervisor`` of MMPretrain, which has no types; its parts are those of its class.
Algorithm = Any
#: One tensor (B, 3, H, W) per view, preprocessed.
Views = Sequence[Tensor]
#: B data samples.
Samples = Sequence[Any] | None
#: Maps a number of patches to the positions (n,) int64 of those that transformers keep.
Subsets = Callable[[int], Tensor] | None
#: Upstream's masked image modeling.
_RECONSTRUCT = {
    *('BEiT', 'CAE', 'EVA', 'MAE', 'MFF', 'MILAN', 'MaskFeat', 'MixMIM', 'SimMIM', 'SparK'),
    'iTPN',
}


class PairLoss(ABC):
    """Forwards the candidates through an algorithm and fills the pair-loss tensor.

    To support another method, derive a class, name the algorithm's class in ``algorithms`` and
    register it in ``mmpretrain.registry.TASK_UTILS``. It has no weights and no state of its own.

    Its methods take the ``algorithm``; S ``views``, of which the first ``num_targets`` (T) are
    targets; and the ``outputs`` of :meth:`forward`.
    """

    #: Names of the algorithm classes this is the default for; their subclasses are included.
    algorithms: ClassVar[tuple[str, ...]] = ()
    #: How many views the algorithm trains on, ``None`` for any number.
    num_kept: ClassVar[int | None] = None
    #: Class name of the only ``head.loss_module``, or head, that this describes, ``None`` for any.
    head_loss: ClassVar[str | None] = None
    #: Whether every kept view is a target, whatever its size: the loss is symmetric.
    all_targets: ClassVar[bool] = False
    #: Whether views of several sizes are refused: the algorithm stacks the kept ones.
    one_size: ClassVar[bool] = False
    #: Whether :meth:`forward` takes ``first_online``, the online views before which are left out.
    takes_first_online: ClassVar[bool] = False
    #: Whether there is :meth:`student_sums`, which a guard watches.
    gives_student_sums: ClassVar[bool] = False
    #: How many samples it takes for their losses to differ.
    min_samples: ClassVar[int] = 1

    def check(self, algorithm: Algorithm, groups: ViewGroups) -> None:
        """Raise ``ValueError`` if this does not describe the algorithm's own loss; called once."""
        if self.num_kept is not None and groups.num_kept != self.num_kept:
            raise ValueError(
                f'keep={list(groups.keep)} keeps {groups.num_kept} views, but '
                f'{type(algorithm).__name__} trains on exactly {self.num_kept}: make keep sum to '
                f'{self.num_kept}.'
            )
        if self.head_loss is not None:
            # A head without a loss module is the loss itself.
            found = type(getattr(algorithm.head, 'loss_module', algorithm.head)).__name__
            if found != self.head_loss:
                raise ValueError(
                    f'head.loss is {found}: {type(self).__name__} describes only {self.head_loss}. '
                    'Pass a pair_loss of your own for another loss.'
                )

    def score_weights(self, algorithm: Algorithm) -> ScoreWeights:
        """How the parts of the tensor enter a score; by default pairs of different views alone."""
        return ScoreWeights()

    def target_inputs(
        self, algorithm: Algorithm, views: Views, num_targets: int, data_samples: Samples = None
    ) -> dict[str, Tensor]:
        """Inputs of the algorithm for its target views besides their pixels; none by default.

        They are tensors (B, T, ...) by the name under which :meth:`forward` and the algorithm's
        ``loss`` take them.

        Raises:
            ValueError: If the views do not fit the algorithm.
        """
        if self.one_size:
            _check_one_size(algorithm, views)
        return {}

    def fitted(
        self, algorithm: Algorithm, inputs: dict[str, Tensor], views: Views, subsets: Subsets
    ) -> dict[str, Any]:
        """Fit target inputs to a cheaper pass, with smaller views or some of the patches."""
        return inputs

    @abstractmethod
    def forward(
        self, algorithm: Algorithm, views: Views, num_targets: int, *args: Any, **target_inputs: Any
    ) -> Any:
        """Forward the candidates and return what :meth:`form` needs.

        A derived class takes the target inputs that it has, by name. Called without gradient and
        inside :func:`hvs_mm.utils.state_guard.preserve_state`.
        """

    @abstractmethod
    def form(self, algorithm: Algorithm, outputs: Any) -> Tensor:
        """Fill the pair-loss tensor (B, T, S), float32.

        ``L[b, t, s]`` is the loss of the sample when online view ``s`` has to match target ``t``.
        """

    def student_sums(self, algorithm: Algorithm, outputs: Any) -> OutputSums:
        """Sums over the student's outputs, distributions over prototypes, for all samples and views
        that were forwarded.
        """
        raise NotImplementedError(f'{type(self).__name__} does not give them.')

    def reusable(self, algorithm: Algorithm, outputs: Any) -> dict[str, Tensor]:
        """Outputs (B, T, ...) that the training step need not compute again; none by default.

        They have the names under which the algorithm's ``loss`` takes those of the kept views.
        Outputs that depend on the rest of the batch must not be among them: the training step would
        compute others.
        """
        return {}

    def of_kept(
        self, values: dict[str, Tensor], kept_targets: Tensor, groups: ViewGroups
    ) -> dict[str, Any]:
        """Reduce target inputs and reusable outputs (B, T, ...) to those of the kept target views,
        whose positions are ``kept_targets`` (B, kept targets), int64.
        """
        samples = torch.arange(len(kept_targets), device=kept_targets.device)[:, None]
        return {name: value[samples, kept_targets] for name, value in values.items()}

    def __call__(
        self, algorithm: Algorithm, views: Views, num_targets: int, data_samples: Samples = None
    ) -> Tensor:
        """Forward the candidates and fill the tensor: (B, T, S)."""
        extras = self.target_inputs(algorithm, views, num_targets, data_samples)
        return self.form(algorithm, self.forward(algorithm, views, num_targets, **extras))


def registered_pair_losses() -> dict[str, type[PairLoss]]:
    """The pair loss of each supported algorithm, by the name of the algorithm's class."""
    found: dict[str, type[PairLoss]] = {}
    for cls in TASK_UTILS.module_dict.values():
        if isinstance(cls, type) and issubclass(cls, PairLoss):
            found.update(dict.fromkeys(cls.algorithms, cls))
    return found


def _check_one_size(algorithm: Algorithm, views: Views) -> None:
    sizes = {tuple(view.shape[2:]) for view in views}
    if len(sizes) > 1:
        raise ValueError(
            f'{type(algorithm).__name__} takes views of one size, the candidates have '
            f'{sorted(sizes)}: give the pipelines of CandidateViews the same crop size.'
        )


def default_pair_loss(algorithm: type, name: str) -> type[PairLoss]:
    """The pair loss registered for an algorithm's class or the nearest of its bases.

    Raises ``ValueError``, which calls the algorithm by the ``name``, if there is none.
    """
    known = registered_pair_losses()
    for cls in algorithm.__mro__:
        if cls.__name__ in known:
            return known[cls.__name__]
    if any(cls.__name__ in _RECONSTRUCT for cls in algorithm.__mro__):
        raise ValueError(
            f'{name} reconstructs the masked patches of a single view and compares no views, so '
            f'there is no pair to select: take one of {sorted(known)}.'
        )
    raise ValueError(
        f'{name} has no pair loss. Algorithms that have one: {sorted(known)}. For another one, '
        'derive from hvs_mm.selection.PairLoss, register the class in '
        'mmpretrain.registry.TASK_UTILS and pass pair_loss=dict(type=...); see docs/extend.md.'
    )


def build_pair_loss(pair_loss: dict[str, Any] | PairLoss | None, algorithm: Algorithm) -> PairLoss:
    """Build a pair loss, by default the one registered for the algorithm's type.

    Args:
        pair_loss: ``None`` for the default, a dict whose ``type`` is a class registered in
            ``TASK_UTILS``, or a built pair loss.
        algorithm: The algorithm whose loss it describes.

    Raises:
        ValueError: If there is none for the algorithm, or the type is unknown.
        TypeError: See :func:`hvs_mm.utils.registry.build_part`.
    """
    if pair_loss is None:
        return default_pair_loss(type(algorithm), type(algorithm).__name__)()
    known = {cls.__name__ for cls in registered_pair_losses().values()}
    return build_part('pair_loss', pair_loss, PairLoss, known)
