# Oxford 102 Flowers: 2,040 images to train on (its parts for training and validation) and 6,149 to test.
num_classes = 102
train_set = dict(type='Flowers102', data_root='data/flowers102', split='trainval')
test_set = dict(type='Flowers102', data_root='data/flowers102', split='test')
load_image = dict(type='LoadImageFromFile')
