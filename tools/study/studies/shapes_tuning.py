# The learning rates of the baselines on the built-in shapes: those of the demos, a third of them,
# and three times as much; more where that was the best. SimCLR's temperature is upstream's, 0.1, or
# higher. On seeds of its own: those of shapes.py judge what is chosen here.
_base_ = 'shapes.py'

name = 'shapes_tuning'
arms = dict(
    _delete_=True,
    lr_low=dict(
        config='baseline',
        per_method=dict(
            # SimSiam's predictor has the same rate, which its hook keeps.
            simsiam={'optim_wrapper.optimizer.lr': 0.03, 'custom_hooks.0.lr': 0.03},
            simclr={'optim_wrapper.optimizer.lr': 0.03, 'model.head.temperature': 0.1},
            dino={'optim_wrapper.optimizer.lr': 3e-4},
            ibot={'optim_wrapper.optimizer.lr': 3e-4},
        ),
    ),
    lr_demo=dict(
        config='baseline',
        per_method=dict(
            simclr={'model.head.temperature': 0.1},
            dino={'optim_wrapper.optimizer.lr': 1e-3},
        ),
    ),
    lr_high=dict(
        config='baseline',
        per_method=dict(
            simsiam={'optim_wrapper.optimizer.lr': 0.3, 'custom_hooks.0.lr': 0.3},
            simclr={'optim_wrapper.optimizer.lr': 0.3, 'model.head.temperature': 0.1},
            dino={'optim_wrapper.optimizer.lr': 3e-3},
            ibot={'optim_wrapper.optimizer.lr': 3e-3},
        ),
    ),
    temperature_02=dict(config='baseline', cfg_options={'model.head.temperature': 0.2}),
    temperature_05=dict(config='baseline', cfg_options={'model.head.temperature': 0.5}),
    lr_highest=dict(config='baseline', cfg_options={'optim_wrapper.optimizer.lr': 1e-2}),
)
runs = [
    dict(arms=['lr_low', 'lr_demo', 'lr_high'], epochs=[8], seeds=[100, 101]),
    dict(methods=['dino'], arms=['lr_highest'], epochs=[8], seeds=[100, 101]),
    dict(
        methods=['simclr'],
        arms=['temperature_02', 'temperature_05'],
        epochs=[8],
        seeds=[100, 101],
    ),
]
