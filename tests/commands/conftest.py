"""Tiny networks run faster op by op than they are traced."""

import pytest
from helpers.boxes import folder  # noqa: F401


@pytest.fixture(scope="module", autouse=True)
def op_by_op():
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
