# Shared by the demos: the network of SimSiam and of its evaluation, and the transforms of the
# built-in images.
network = dict(
    type='ResNet_CIFAR',
    depth=18,
    num_stages=3,
    out_indices=(2, ),
    strides=(2, 2, 2),
    dilations=(1, 1, 1),
    stem_channels=8,
    base_channels=16,
    norm_cfg=dict(type='BN'),
    zero_init_residual=False)

# The class is the shape: color carries nothing, and views without it learn faster.
to_gray = dict(
    type='RandomGrayscale',
    prob=1.0,
    keep_channels=True,
    channel_weights=(0.114, 0.587, 0.2989))
flip = dict(type='RandomFlip', prob=0.5)
# Images for the nearest-neighbor classifier of tools/demo.py.
knn_pipeline = [
    dict(type='Resize', scale=48, interpolation='area'), to_gray, dict(type='PackInputs')
]

shapes = dict(type='ShapesDataset', split='train', num_samples=2048)
