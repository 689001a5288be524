# Would hard views come out better with settings of their own? Learning rates, and temperatures of
# SimCLR, for the hardest views, on the seeds of shapes_tuning.py. What is best here is not used by
# shapes.py, whose settings are the best of the baselines.
_base_ = 'shapes.py'

name = 'shapes_hardest_tuning'
arms = dict(
    _delete_=True,
    lr_low=dict(
        config='selection',
        per_method=dict(
            simclr={'optim_wrapper.optimizer.lr': 0.03},
            dino={'optim_wrapper.optimizer.lr': 1e-3},
        ),
    ),
    lr_baseline=dict(config='selection'),
    lr_high=dict(
        config='selection',
        per_method=dict(
            simclr={'optim_wrapper.optimizer.lr': 0.3},
            dino={'optim_wrapper.optimizer.lr': 1e-2},
        ),
    ),
    temperature_01=dict(config='selection', cfg_options={'model.algorithm.head.temperature': 0.1}),
    temperature_05=dict(config='selection', cfg_options={'model.algorithm.head.temperature': 0.5}),
)
runs = [
    dict(
        methods=['simclr', 'dino'],
        arms=['lr_low', 'lr_baseline', 'lr_high'],
        epochs=[8],
        seeds=[100, 101],
    ),
    dict(
        methods=['simclr'],
        arms=['temperature_01', 'temperature_05'],
        epochs=[8],
        seeds=[100, 101],
    ),
]
