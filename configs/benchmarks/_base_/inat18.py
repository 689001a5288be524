# iNaturalist 2018: 437,513 images of 8,142 species to train on, 24,426 to validate. Upstream has no class for it:
# docs/benchmarks.md shows how the lists of images are made from the official annotations.
num_classes = 8142
train_set = dict(type='CustomDataset', data_root='data/inat18', ann_file='train2018.txt')
test_set = dict(type='CustomDataset', data_root='data/inat18', ann_file='val2018.txt')
load_image = dict(type='LoadImageFromFile')
