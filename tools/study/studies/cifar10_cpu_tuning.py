# The learning rates of the baselines of cifar10_cpu.py: those of the configs, a third of them, and
# three times as much; more where that was the best. On a seed of its own: those of cifar10_cpu.py
# judge what is chosen here.
_base_ = 'cifar10_cpu.py'

name = 'cifar10_cpu_tuning'
_rates = dict(
    lr_low=dict(simsiam=0.017, simclr=0.033, dino=3.3e-4, ibot=3.3e-4),
    lr_config=dict(simsiam=0.05, simclr=0.1, dino=1e-3, ibot=1e-3),
    lr_high=dict(simsiam=0.15, simclr=0.3, dino=3e-3, ibot=3e-3),
    lr_highest=dict(simsiam=0.45),
)
arms = dict(
    _delete_=True,
    **{
        setting: dict(
            config='baseline',
            per_method={
                method: {
                    **_base_.arms.baseline.per_method[method],
                    'optim_wrapper.optimizer.lr': rate,
                    # SimSiam's predictor has the same rate, which its hook keeps.
                    **({'custom_hooks.0.lr': rate} if method == 'simsiam' else {}),
                }
                for method, rate in rates.items()
            },
        )
        for setting, rates in _rates.items()
    },
)
runs = [
    dict(arms=['lr_low', 'lr_config', 'lr_high'], epochs=[5], seeds=[100]),
    dict(methods=['simsiam'], arms=['lr_highest'], epochs=[5], seeds=[100]),
]
evaluation = dict(knn=dict(interval=5))
