"""Photos and masks as people's files hold them -> arrays, and back; folders of them; drawing.

`photos`, `label_files` and `mask_files` read one file each, `labelled` a photo with its mask;
`label_pictures` is what the two of labels start from, `deep_photos` knows more than 8 bits;
`mask_values` says what the values of a mask mean, `png_files` writes. Nothing in here knows of
data sets, classes of a data set, or networks.
"""
