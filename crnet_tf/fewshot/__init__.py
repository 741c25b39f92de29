"""k labelled photos and a trained network -> masks of other photos: features kept, fine-tuning,
fusion, the threshold, presence, several classes.

Evaluation, prediction and exports all answer by these functions. No files of users are read
here.
"""
