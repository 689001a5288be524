# The learning rates of the baselines on CIFAR-10: those of the configs, a third of them, and three
# times as much. On a seed of its own, and for a quarter of the epochs: those of cifar10.py judge
# what is chosen here.
_base_ = 'cifar10.py'

name = 'cifar10_tuning'
arms = dict(
    _delete_=True,
    lr_low=dict(
        config='baseline',
        per_method=dict(
            # SimSiam's predictor has the same rate, which its hook keeps.
            simsiam={'optim_wrapper.optimizer.lr': 0.0167, 'custom_hooks.0.lr': 0.0167},
            simclr={'optim_wrapper.optimizer.lr': 0.033},
            dino={'optim_wrapper.optimizer.lr': 3.3e-4},
            ibot={'optim_wrapper.optimizer.lr': 3.3e-4},
        ),
    ),
    lr_config=dict(config='baseline'),
    lr_high=dict(
        config='baseline',
        per_method=dict(
            simsiam={'optim_wrapper.optimizer.lr': 0.15, 'custom_hooks.0.lr': 0.15},
            simclr={'optim_wrapper.optimizer.lr': 0.3},
            dino={'optim_wrapper.optimizer.lr': 3e-3},
            ibot={'optim_wrapper.optimizer.lr': 3e-3},
        ),
    ),
)
runs = [dict(epochs=[50], seeds=[100])]
