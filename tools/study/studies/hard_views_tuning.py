# The learning rates of hard_views_pilot.py, on seeds of their own: as there, a third, and three
# times as much, for the baseline and for hard views, which have the same budget.
_base_ = 'hard_views_pilot.py'

name = 'hard_views_tuning'
_factors = dict(third=1 / 3, same=1.0, triple=3.0)
_rates = dict(simclr=0.1, simsiam=0.15)


def _at(arm, factor):
    settings = {}
    for method, rate in _rates.items():
        own = {'optim_wrapper.optimizer.lr': round(rate * factor, 4)}
        if method == 'simsiam':
            # SimSiam's predictor has the same rate, which its hook keeps.
            own['custom_hooks.0.lr'] = round(rate * factor, 4)
        settings[method] = {**arm['per_method'][method], **own}
    return dict(config=arm['config'], per_method=settings)


arms = dict(
    _delete_=True,
    **{
        f'{name}_{size}': _at(_base_.arms[name], factor)
        for name in ('baseline', 'hardest')
        for size, factor in _factors.items()
    },
)
runs = [dict(methods=['simclr', 'simsiam'], epochs=[10], seeds=[300, 301])]
evaluation = dict(knn=dict(interval=5))
