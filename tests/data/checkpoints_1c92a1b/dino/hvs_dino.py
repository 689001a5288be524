auto_scale_lr = dict(base_batch_size=1024)
custom_hooks = [
    dict(momentum=0.01, type='TeacherHook'),
    dict(clip=3.0, freeze_epochs=1, type='GradientHook'),
    dict(type='ProgressHook'),
]
custom_imports = dict(
    allow_failed_imports=False, imports=[
        'hvs_mm',
    ])
data_preprocessor = dict(
    _scope_='mmpretrain',
    mean=[
        123.675,
        116.28,
        103.53,
    ],
    std=[
        58.395,
        57.12,
        57.375,
    ],
    to_rgb=True,
    type='SelfSupDataPreprocessor')
data_root = 'data/imagenet/'
dataset_type = 'ImageNet'
default_hooks = dict(
    checkpoint=dict(
        _scope_='mmpretrain',
        interval=1,
        max_keep_ckpts=3,
        type='CheckpointHook'),
    finite_step=dict(type='FiniteStepHook'),
    logger=dict(_scope_='mmpretrain', interval=16, type='LoggerHook'),
    panel=dict(type='SelectionPanelHook'),
    param_scheduler=dict(_scope_='mmpretrain', type='ParamSchedulerHook'),
    sampler_seed=dict(_scope_='mmpretrain', type='DistSamplerSeedHook'),
    selection=dict(interval=16, type='SelectionStatsHook'),
    timer=dict(_scope_='mmpretrain', type='IterTimerHook'),
    visualization=dict(
        _scope_='mmpretrain', enable=False, type='VisualizationHook'))
default_scope = 'mmpretrain'
env_cfg = dict(
    cudnn_benchmark=False,
    dist_cfg=dict(backend='nccl'),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
flip = dict(prob=0.5, type='RandomFlip')
global_pipeline1 = [
    dict(crop_ratio_range=(
        0.2,
        0.5,
    ), scale=24, type='RandomResizedCrop'),
    dict(prob=0.5, type='RandomFlip'),
    dict(
        channel_weights=(
            0.114,
            0.587,
            0.2989,
        ),
        keep_channels=True,
        prob=1.0,
        type='RandomGrayscale'),
]
global_pipeline2 = [
    dict(crop_ratio_range=(
        0.2,
        0.5,
    ), scale=24, type='RandomResizedCrop'),
    dict(prob=0.5, type='RandomFlip'),
    dict(
        channel_weights=(
            0.114,
            0.587,
            0.2989,
        ),
        keep_channels=True,
        prob=1.0,
        type='RandomGrayscale'),
    dict(prob=0.2, thr=128, type='Solarize'),
]
knn_pipeline = [
    dict(interpolation='area', scale=48, type='Resize'),
    dict(
        channel_weights=(
            0.114,
            0.587,
            0.2989,
        ),
        keep_channels=True,
        prob=1.0,
        type='RandomGrayscale'),
    dict(type='PackInputs'),
]
launcher = 'none'
load_from = None
local_pipeline = [
    dict(crop_ratio_range=(
        0.05,
        0.15,
    ), scale=12, type='RandomResizedCrop'),
    dict(prob=0.5, type='RandomFlip'),
    dict(
        channel_weights=(
            0.114,
            0.587,
            0.2989,
        ),
        keep_channels=True,
        prob=1.0,
        type='RandomGrayscale'),
]
log_level = 'INFO'
log_processor = dict(
    mean_pattern='.*(loss|time|data_time|grad_norm|hvs|cls_term|patch_term).*')
model = dict(
    algorithm=dict(
        backbone=dict(
            arch=dict(
                embed_dims=12,
                feedforward_channels=24,
                num_heads=3,
                num_layers=2),
            drop_path_rate=0.05,
            img_size=24,
            init_cfg=dict(
                bias=0.0, layer='Linear', std=0.02, type='TruncNormal'),
            patch_size=4,
            type='VisionTransformer'),
        head=dict(
            num_crops=6, out_channels=16, teacher_temp=0.04, type='DINOHead'),
        neck=dict(
            bottleneck_channels=8,
            hidden_channels=16,
            in_channels=12,
            out_channels=16,
            type='DINONeck',
            use_bn=True),
        type='DINO'),
    candidates=[
        2,
        2,
        8,
    ],
    keep=[
        1,
        1,
        4,
    ],
    type='HVSAlgorithm')
network = dict(
    base_channels=16,
    depth=18,
    dilations=(
        1,
        1,
        1,
    ),
    norm_cfg=dict(type='BN'),
    num_stages=3,
    out_indices=(2, ),
    stem_channels=8,
    strides=(
        2,
        2,
        2,
    ),
    type='ResNet_CIFAR',
    zero_init_residual=False)
optim_wrapper = dict(
    optimizer=dict(lr=0.001, type='AdamW', weight_decay=0.04),
    paramwise_cfg=dict(
        bias_decay_mult=0.0, flat_decay_mult=0.0, norm_decay_mult=0.0),
    type='OptimWrapper')
param_scheduler = [
    dict(
        begin=0,
        convert_to_iter_based=True,
        end=1,
        start_factor=1e-09,
        type='LinearLR'),
    dict(
        begin=1,
        convert_to_iter_based=True,
        end=8,
        eta_min=1e-06,
        type='CosineAnnealingLR'),
    dict(
        begin=0,
        convert_to_iter_based=True,
        end=8,
        eta_min=0.4,
        type='CosineWeightDecay'),
]
randomness = dict(deterministic=False, seed=0)
resume = False
runner_type = 'mmpretrain.ReliableRunner'
shapes = dict(num_samples=2048, split='train', type='ShapesDataset')
to_gray = dict(
    channel_weights=(
        0.114,
        0.587,
        0.2989,
    ),
    keep_channels=True,
    prob=1.0,
    type='RandomGrayscale')
train_cfg = dict(max_epochs=2, type='EpochBasedTrainLoop')
train_dataloader = dict(
    batch_size=32,
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        num_samples=64,
        pipeline=[
            dict(
                num_views=[
                    2,
                    2,
                    8,
                ],
                transforms=[
                    [
                        dict(
                            crop_ratio_range=(
                                0.2,
                                0.5,
                            ),
                            scale=24,
                            type='RandomResizedCrop'),
                        dict(prob=0.5, type='RandomFlip'),
                        dict(
                            channel_weights=(
                                0.114,
                                0.587,
                                0.2989,
                            ),
                            keep_channels=True,
                            prob=1.0,
                            type='RandomGrayscale'),
                    ],
                    [
                        dict(
                            crop_ratio_range=(
                                0.2,
                                0.5,
                            ),
                            scale=24,
                            type='RandomResizedCrop'),
                        dict(prob=0.5, type='RandomFlip'),
                        dict(
                            channel_weights=(
                                0.114,
                                0.587,
                                0.2989,
                            ),
                            keep_channels=True,
                            prob=1.0,
                            type='RandomGrayscale'),
                        dict(prob=0.2, thr=128, type='Solarize'),
                    ],
                    [
                        dict(
                            crop_ratio_range=(
                                0.05,
                                0.15,
                            ),
                            scale=12,
                            type='RandomResizedCrop'),
                        dict(prob=0.5, type='RandomFlip'),
                        dict(
                            channel_weights=(
                                0.114,
                                0.587,
                                0.2989,
                            ),
                            keep_channels=True,
                            prob=1.0,
                            type='RandomGrayscale'),
                    ],
                ],
                type='CandidateViews'),
            dict(type='PackViews'),
        ],
        split='train',
        type='ShapesDataset'),
    drop_last=True,
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    sampler=dict(_scope_='mmpretrain', shuffle=True, type='DefaultSampler'))
train_pipeline = [
    dict(_scope_='mmpretrain', type='LoadImageFromFile'),
    dict(
        _scope_='mmpretrain',
        num_views=[
            1,
            1,
        ],
        transforms=[
            [
                dict(
                    backend='pillow',
                    interpolation='bicubic',
                    scale=224,
                    type='RandomResizedCrop'),
                dict(prob=0.5, type='RandomFlip'),
                dict(
                    prob=0.8,
                    transforms=[
                        dict(
                            brightness=0.4,
                            contrast=0.4,
                            hue=0.1,
                            saturation=0.2,
                            type='ColorJitter'),
                    ],
                    type='RandomApply'),
                dict(
                    channel_weights=(
                        0.114,
                        0.587,
                        0.2989,
                    ),
                    keep_channels=True,
                    prob=0.2,
                    type='RandomGrayscale'),
                dict(
                    magnitude_range=(
                        0.1,
                        2.0,
                    ),
                    magnitude_std='inf',
                    prob=1.0,
                    type='GaussianBlur'),
                dict(prob=0.0, thr=128, type='Solarize'),
            ],
            [
                dict(
                    backend='pillow',
                    interpolation='bicubic',
                    scale=224,
                    type='RandomResizedCrop'),
                dict(prob=0.5, type='RandomFlip'),
                dict(
                    prob=0.8,
                    transforms=[
                        dict(
                            brightness=0.4,
                            contrast=0.4,
                            hue=0.1,
                            saturation=0.2,
                            type='ColorJitter'),
                    ],
                    type='RandomApply'),
                dict(
                    channel_weights=(
                        0.114,
                        0.587,
                        0.2989,
                    ),
                    keep_channels=True,
                    prob=0.2,
                    type='RandomGrayscale'),
                dict(
                    magnitude_range=(
                        0.1,
                        2.0,
                    ),
                    magnitude_std='inf',
                    prob=0.1,
                    type='GaussianBlur'),
                dict(prob=0.2, thr=128, type='Solarize'),
            ],
        ],
        type='MultiView'),
    dict(_scope_='mmpretrain', type='PackInputs'),
]
view_pipeline1 = [
    dict(
        _scope_='mmpretrain',
        backend='pillow',
        interpolation='bicubic',
        scale=224,
        type='RandomResizedCrop'),
    dict(_scope_='mmpretrain', prob=0.5, type='RandomFlip'),
    dict(
        _scope_='mmpretrain',
        prob=0.8,
        transforms=[
            dict(
                brightness=0.4,
                contrast=0.4,
                hue=0.1,
                saturation=0.2,
                type='ColorJitter'),
        ],
        type='RandomApply'),
    dict(
        _scope_='mmpretrain',
        channel_weights=(
            0.114,
            0.587,
            0.2989,
        ),
        keep_channels=True,
        prob=0.2,
        type='RandomGrayscale'),
    dict(
        _scope_='mmpretrain',
        magnitude_range=(
            0.1,
            2.0,
        ),
        magnitude_std='inf',
        prob=1.0,
        type='GaussianBlur'),
    dict(_scope_='mmpretrain', prob=0.0, thr=128, type='Solarize'),
]
view_pipeline2 = [
    dict(
        _scope_='mmpretrain',
        backend='pillow',
        interpolation='bicubic',
        scale=224,
        type='RandomResizedCrop'),
    dict(_scope_='mmpretrain', prob=0.5, type='RandomFlip'),
    dict(
        _scope_='mmpretrain',
        prob=0.8,
        transforms=[
            dict(
                brightness=0.4,
                contrast=0.4,
                hue=0.1,
                saturation=0.2,
                type='ColorJitter'),
        ],
        type='RandomApply'),
    dict(
        _scope_='mmpretrain',
        channel_weights=(
            0.114,
            0.587,
            0.2989,
        ),
        keep_channels=True,
        prob=0.2,
        type='RandomGrayscale'),
    dict(
        _scope_='mmpretrain',
        magnitude_range=(
            0.1,
            2.0,
        ),
        magnitude_std='inf',
        prob=0.1,
        type='GaussianBlur'),
    dict(_scope_='mmpretrain', prob=0.2, thr=128, type='Solarize'),
]
vis_backends = [
    dict(_scope_='mmpretrain', type='LocalVisBackend'),
]
visualizer = dict(
    _scope_='mmpretrain',
    type='UniversalVisualizer',
    vis_backends=[
        dict(type='LocalVisBackend'),
    ])
work_dir = 'dino'
