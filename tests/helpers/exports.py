"""Photos, and what a checkpoint answers to them, that the tests of several exports share."""

import functools

import tensorflow as tf

from crnet_tf.fewshot.learner import Learner
from crnet_tf.images.png_files import write_png
from crnet_tf.options import Options
from helpers.networks import photo

STEPS = Options(kshot="mean", refine_steps=1)
SUPPORTS = [photo(1), photo(2), photo(3)]
QUERIES = [photo(4), photo(5), photo(6)]
OTHER = [photo(1), photo(2, 61, 35), photo(3, 30, 90)]  # of different sizes
OTHER_QUERIES = [photo(7, 33, 80), photo(8, 70, 41)]
CUP, MUG = [photo(1), photo(2)], [photo(3, 30, 90), photo(4), photo(5)]


def expected(network, supports, query, options=STEPS):
    """Probability and presence of the checkpoint."""
    example = Learner(network, options).fit(supports)
    return example.segment(query), example.presence(query)


@functools.cache
def loaded(folder):
    """An exported model of the fixture `exports`, loaded once a process: it takes seconds."""
    return tf.saved_model.load(str(folder))


class Answers:
    """A predictor whose answer is given."""

    negatives = ()

    def __init__(self, probability):
        self.probability = probability

    def segment(self, query):
        return self.probability

    def maps(self, query):
        return [self.probability[None]]

    def presence(self, query):
        return 0.75


def put(folder, supports):
    folder.mkdir(parents=True)
    for number, one in enumerate(supports):
        write_png(folder / f"{number}.png", one.image)
        write_png(folder / f"{number}_mask.png", one.mask)
