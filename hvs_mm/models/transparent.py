"""A wrapper that shares the state and the names of the algorithm inside it."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModel
from mmpretrain.models.selfsup.base import BaseSelfSupervisor
from mmpretrain.registry import MODELS
from torch import nn

#: What makes up the state of a module. Shared with the wrapped algorithm, not copied.
_STATE = (
    '_parameters',
    '_buffers',
    '_modules',
    '_non_persistent_buffers_set',
    '_state_dict_hooks',
    '_state_dict_pre_hooks',
    '_load_state_dict_pre_hooks',
    '_load_state_dict_post_hooks',
)


class TransparentWrapper(BaseModel):
    """Looks like the algorithm it wraps: same parameters, same names, same attributes.

    An ordinary wrapper registers the algorithm as a submodule, which prefixes every name with
    ``algorithm.``. That breaks checkpoints, which no longer load into the baseline, into linear
    evaluation or into a detector; parameter-wise options of the optimizer, which match by name;
    and hooks, which reach for ``model.head`` or ``model.backbone``. So:

    - The wrapper's dicts of parameters, buffers, submodules and state-dict hooks *are* those of the
      algorithm. Both modules see a parameter that either of them replaces, and names have no
      prefix. Registered as a submodule, the algorithm would appear twice in a checkpoint.
    - Attributes that the wrapper lacks are read from the algorithm, and attributes that only the
      algorithm has are written to it, so that hooks that steer it reach it.
    - ``train`` and ``init_weights`` act on the algorithm, which may override them.
    - Members of the wrapper that are or hold modules bypass ``nn.Module``, see :meth:`_set_member`:
      registered, they would be saved among the algorithm's weights.
    """

    algorithm: BaseSelfSupervisor
    # Of the base class, which has no types.
    _is_init: bool

    def __init__(self, algorithm: BaseSelfSupervisor) -> None:
        super().__init__(data_preprocessor=algorithm.data_preprocessor)
        self._set_member('algorithm', algorithm)
        for name in _STATE:
            self.__dict__[name] = algorithm.__dict__[name]
        self.training = algorithm.training

    def _set_member(self, name: str, value: Any) -> None:
        """Set an attribute without registering it as a submodule."""
        self.__dict__[name] = value

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            # Absent while the wrapper is being built, copied or unpickled.
            if 'algorithm' not in self.__dict__:
                raise
            return getattr(self.algorithm, name)

    def __setattr__(self, name: str, value: Any) -> None:
        algorithm = self.__dict__.get('algorithm')
        if algorithm is not None and name in algorithm.__dict__ and name not in self.__dict__:
            setattr(algorithm, name, value)
        else:
            super().__setattr__(name, value)

    def train(self, mode: bool = True) -> TransparentWrapper:
        self.training = mode
        self.algorithm.train(mode)
        return self

    def init_weights(self) -> None:
        if not self._is_init:
            self.algorithm.init_weights()
            self._is_init = True


def build_algorithm(
    algorithm: dict[str, Any] | nn.Module, data_preprocessor: dict[str, Any] | nn.Module | None
) -> BaseSelfSupervisor:
    """Build the algorithm to wrap from its config, or check one that is built."""
    expected = (
        "the config of a self-supervised algorithm of MMPretrain, such as dict(type='SimSiam', "
        '...), or a built one'
    )
    if isinstance(algorithm, dict) and 'type' in algorithm:
        config = dict(algorithm)
        if data_preprocessor is not None:
            config.setdefault('data_preprocessor', data_preprocessor)
        algorithm = MODELS.build(config)
    elif not isinstance(algorithm, nn.Module):
        raise TypeError(f'algorithm={algorithm!r} must be {expected}.')
    elif data_preprocessor is not None:
        raise ValueError(
            'data_preprocessor was given together with a built algorithm, which has one already: '
            'pass it where the algorithm is built.'
        )
    if not isinstance(algorithm, BaseSelfSupervisor):
        raise TypeError(f'algorithm is a {type(algorithm).__name__}, it must be {expected}.')
    return algorithm
