# What selection gives on the built-in shapes, for four methods, against the baseline and the
# control that spends the same compute. The learning rates are the best of shapes_tuning.py, for the
# baselines.
name = 'shapes'
methods = dict(
    simsiam=dict(baseline='configs/demo/simsiam.py', selection='configs/demo/hvs_simsiam.py'),
    simclr=dict(baseline='configs/demo/simclr.py', selection='configs/demo/hvs_simclr.py'),
    dino=dict(
        baseline='configs/demo/dino.py',
        selection='configs/demo/hvs_dino.py',
        cfg_options={'optim_wrapper.optimizer.lr': 3e-3},
    ),
    ibot=dict(baseline='configs/demo/ibot.py', selection='configs/demo/hvs_ibot.py'),
)
arms = dict(
    baseline=dict(config='baseline'),
    random=dict(config='selection', cfg_options={'model.selector': 'random'}),
    hardest=dict(config='selection'),
    easiest=dict(config='selection', cfg_options={'model.selector': 'easiest'}),
    # What configs/hvs_<method>_*_fast.py set.
    fast=dict(
        config='selection',
        per_method=dict(
            simsiam={'model.selection_pass.scale': 0.5},
            simclr={'model.selection_pass.dtype': 'bfloat16'},
            dino={'model.selection_pass.online': 'local', 'model.selection_pass.dtype': 'bfloat16'},
            ibot={'model.selection_pass.scale': 0.5},
        ),
    ),
    hardest_of_6=dict(config='selection', candidates=[6]),
    hardest_of_8=dict(config='selection', candidates=[8]),
)
runs = [
    dict(arms=['baseline', 'random', 'hardest'], epochs=[8], seeds=[0, 1, 2]),
    # As long as 8 epochs of hardest take.
    dict(
        methods=['simsiam', 'simclr'],
        arms=['baseline'],
        epochs=[11],
        seeds=[0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    ),
    dict(methods=['dino'], arms=['baseline'], epochs=[14], seeds=[0, 1, 2]),
    dict(methods=['ibot'], arms=['baseline'], epochs=[16], seeds=[0, 1, 2]),
    dict(arms=['easiest', 'fast'], epochs=[8], seeds=[0, 1, 2]),
    dict(
        methods=['simsiam', 'simclr'],
        arms=['hardest_of_6', 'hardest_of_8'],
        epochs=[8],
        seeds=[0, 1, 2],
    ),
    # The two whose accuracies differ most from one seed to another, and whose runs are cheap.
    dict(
        methods=['simsiam', 'simclr'],
        arms=['baseline', 'random', 'hardest'],
        epochs=[8],
        seeds=[3, 4, 5, 6, 7, 8, 9],
    ),
]
evaluation = dict(knn=dict(k=20, interval=1), linear=dict(C=1.0))
