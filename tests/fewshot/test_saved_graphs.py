"""Written graphs: the same network gives the same files."""

import tensorflow as tf

from crnet_tf.fewshot import saved_graphs


def test_variables_are_kept_by_their_names_in_whatever_order_they_are_used(tmp_path):
    names = "dbeac"
    variables = [tf.Variable(float(i), name=name) for i, name in enumerate(names)]
    function = lambda x: {"sum": sum(variables, x)}  # noqa: E731
    saved_graphs.save({"sum": (function, [tf.TensorSpec([], name="x")])}, tmp_path / "saved")
    reader = tf.train.load_checkpoint(str(tmp_path / "saved" / "variables" / "variables"))
    kept = [reader.get_tensor(f"kept/{i}/.ATTRIBUTES/VARIABLE_VALUE") for i in range(5)]
    assert kept == [names.index(name) for name in sorted(names)]
