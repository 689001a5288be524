# Shared by the configs of CIFAR-10: JPEGs in class folders,
# data/cifar10/train/<class>/*.jpg and data/cifar10/val/<class>/*.jpg
jpegs = dict(type='CustomDataset', data_root='data/cifar10', data_prefix='train')
knn_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=32), dict(type='PackInputs')
]
# Schedule of the learning rate, without its length.
cosine = dict(type='CosineAnnealingLR', by_epoch=True, begin=0, convert_to_iter_based=True)
