# Food-101: 75,750 images to train on and 25,250 to test.
num_classes = 101
train_set = dict(type='Food101', data_root='data/food-101', split='train')
test_set = dict(type='Food101', data_root='data/food-101', split='test')
load_image = dict(type='LoadImageFromFile')
