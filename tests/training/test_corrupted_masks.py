"""First caches of training episodes: some of the mask's truth, and some error."""

import numpy as np
import tensorflow as tf

from crnet_tf.config import Config
from crnet_tf.network.resizing import resize_area
from crnet_tf.training import corrupted_masks

SIZE = (29, 29)


def square():
    mask = np.zeros((65, 65, 1), np.uint8)
    mask[16:48, 16:48] = 1
    return mask


def caches(share, count=200):
    seeds = tf.stack([tf.zeros(count, tf.int64), tf.range(count, dtype=tf.int64)], axis=1)
    return np.array([corrupted_masks.query_cache(square(), SIZE, share, s) for s in seeds])


def test_as_many_episodes_as_asked_start_from_a_damaged_mask():
    found = caches(0.5)
    given = found.sum(axis=(1, 2, 3)) > 0
    assert 75 < given.sum() < 125  # 100, give or take three and a half standard deviations
    np.testing.assert_allclose(found[given].sum(axis=-1), 1, atol=1e-6)
    assert not caches(0.0, 20).any()


def test_a_damaged_mask_still_tells_where_the_object_is_and_never_exactly():
    truth = resize_area(square()[None].astype("float32"), SIZE)[0, ..., 0] > 0.5
    found = caches(1.0)[..., 1]
    wrong = ((found > 0.5) != np.array(truth)).mean(axis=(1, 2))
    assert 0.02 < np.median(wrong) < 0.2
    assert len(np.unique(found.round(5), axis=0)) == len(found)
    assert found.min() > 0.04 and found.max() < 0.96


def test_batches_get_caches_that_depend_on_the_seed_and_the_batch_alone():
    masks = np.stack([square()] * 2)

    def taken(skip, settings):
        batches = tf.data.Dataset.from_tensors(({"a": 1}, {"query_mask": masks})).repeat(
            4 - skip
        )
        found = corrupted_masks.with_query_caches(batches, SIZE, settings, skip)
        return [inputs.get("query_cache") for inputs, _ in found]

    settings = Config(batch_size=2, corrupted_cache=1.0, seed=3)
    whole = taken(0, settings)
    assert whole[0].shape == (2, *SIZE, 2)
    np.testing.assert_array_equal(taken(2, settings), whole[2:])
    assert np.abs(whole[0][0] - whole[0][1]).max() > 0
    assert taken(0, Config(batch_size=2)) == [None] * 4
