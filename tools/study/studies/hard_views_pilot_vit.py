# How much do differences between hard views and the baseline vary over the seeds? DINO and iBOT
# with the networks of hardness_dial_cifar10.py: 6 epochs of the baseline at a constant rate, then
# 3 with either arm in which the rate decays. Its runs say how many seeds the comparison needs, and
# are no part of it.
_base_ = 'hardness_dial_cifar10.py'

name = 'hard_views_pilot_vit'
arms = dict(_delete_=True, baseline=dict(_base_.arms.baseline), hardest=dict(_base_.arms.hardest))
runs = [dict(forks=[6], epochs=[3], seeds=list(range(200, 206)))]
evaluation = dict(knn=dict(interval=1), linear=dict(C=0.01))
