# CIFAR-100, like CIFAR-10.
_base_ = 'cifar10.py'
num_classes = 100
train_set = dict(type='CIFAR100', data_root='data/cifar100')
test_set = dict(type='CIFAR100', data_root='data/cifar100')
