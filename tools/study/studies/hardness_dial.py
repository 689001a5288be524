# A first look at the dial of hardness for methods with a teacher: every kind of selector, a late
# start and the guard, on the built-in shapes. All arms of a seed have the same weights, images and
# candidates.
name = 'hardness_dial'
engine = 'fast'
methods = dict(
    dino=dict(
        baseline='configs/demo/dino.py',
        selection='configs/demo/hvs_dino.py',
        cfg_options={'optim_wrapper.optimizer.lr': 1e-3},
    ),
    ibot=dict(baseline='configs/demo/ibot.py', selection='configs/demo/hvs_ibot.py'),
)


def _selection(**settings):
    return dict(
        config='selection',
        cfg_options={f'model.{name.replace("__", ".")}': value for name, value in settings.items()},
    )


arms = dict(
    baseline=dict(config='baseline'),
    random=_selection(selector='random'),
    hardest=_selection(selector='hardest'),
    best_of_64=_selection(selector=dict(type='hardest', max_comparisons=64)),
    softened_4=_selection(selector=dict(type='softened', temperature=4.0)),
    softened_1=_selection(selector=dict(type='softened', temperature=1.0)),
    softened_025=_selection(selector=dict(type='softened', temperature=0.25)),
    quantile_075=_selection(selector=dict(type='quantile', quantile=0.75)),
    quantile_09=_selection(selector=dict(type='quantile', quantile=0.9)),
    hard_globals=_selection(selector=dict(type='per_group', global_crops='hardest')),
    late=_selection(schedule__warmup=2),
    guarded=_selection(guard=dict(low=0.1, high=0.2)),
)
runs = [dict(epochs=[4], seeds=[seed]) for seed in (0, 1, 2)]
evaluation = dict(knn=dict(k=20, interval=2), linear=dict(C=1.0))
