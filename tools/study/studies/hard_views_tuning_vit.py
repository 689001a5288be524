# The learning rates of hard_views_pilot_vit.py, on seeds of their own: as there, a third, and three
# times as much, for the baseline and for hard views, which have the same budget. Without forks, as
# a trunk would have the rate of the baseline.
_base_ = 'hard_views_pilot_vit.py'

name = 'hard_views_tuning_vit'
_rates = dict(third=3.3e-4, same=1e-3, triple=3e-3)


def _at(arm, rate):
    return {
        **arm,
        'cfg_options': {**arm.get('cfg_options', {}), 'optim_wrapper.optimizer.lr': rate},
    }


arms = dict(
    _delete_=True,
    **{
        f'{name}_{size}': _at(_base_.arms[name], rate)
        for name in ('baseline', 'hardest')
        for size, rate in _rates.items()
    },
)
runs = [dict(epochs=[6], seeds=[300, 301])]
evaluation = dict(knn=dict(interval=3), linear=dict(C=0.01))
