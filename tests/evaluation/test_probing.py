"""Hand-made networks of which it is known what does work: the probe says just that."""

import json

import numpy as np
import pytest
from helpers import commands
from helpers.networks import build, lively, photo

from crnet_tf import probe as command
from crnet_tf.evaluation import probing
from crnet_tf.evaluation.manifest import Entry

CLASSES = 2


class Photos:
    """In the place of an archive: photo n, whatever class it is asked for."""

    def masked(self, name, class_id):
        one = photo(int(name))
        return one.image, one.mask


ENTRIES = [Entry(n % CLASSES + 1, (str(n),), str(n + 20)) for n in range(4)]


def probed(network):
    return probing.probe(network, Photos(), ENTRIES)


def differences(found):
    return {
        change.name: found.difference(change).value
        for change in probing.CHANGES
        if change.name in found.areas
    }


def at_the_centre(variable, pairs):
    """A kernel that passes channels on as they are: {(from, to): factor}."""
    kernel = np.zeros(variable.shape, np.float32)
    row, column = (side // 2 for side in kernel.shape[:2])
    for (source, target), factor in pairs.items():
        kernel[row, column, source, target] = factor
    variable.assign(kernel)


def test_a_cache_that_is_not_read_does_no_work():
    network = lively()
    entry = network.parts.refinement.entry[1]
    entry.kernel.assign(0 * entry.kernel)
    found = differences(probed(network))
    steps = [f"{n} steps" for n in range(2, 6)]
    for name in (*steps, probing.TRUE_CACHE, probing.OPPOSITE_CACHE):
        assert found[name] == 0, name
    assert found[probing.OTHER_CATEGORY] != 0


@pytest.mark.slow
def test_similarity_that_is_not_read_does_no_work():
    network = lively(similarity=True)
    found = differences(probed(network))
    assert found[probing.OTHER_SIMILARITY] != 0
    kernel = network.parts.condition.fuse.kernel
    read = np.ones(kernel.shape, np.float32)
    read[:, :, 16:] = 0  # after 8 channels of the photo and 8 of the category vector
    kernel.assign(kernel * read)
    found = differences(probed(network))
    assert found[probing.OTHER_SIMILARITY] == 0 != found[probing.OTHER_CATEGORY]


def test_a_network_that_copies_its_cache_is_led_by_it():
    network = build()
    part = network.parts.refinement
    both = {(0, 0): 1, (1, 1): 1}
    for layer in (part.entry[0], *part.downsample):
        layer.kernel.assign(0 * layer.kernel)
    at_the_centre(part.entry[1].kernel, both)
    for wide in part.wide:
        for first, second in (wide.tall_first, wide.wide_first):
            at_the_centre(first.kernel, both)
            at_the_centre(second.kernel, both)
    channels = part.channels
    at_the_centre(part.combine.kernel, {(channels, 0): 1, (channels + 1, 1): 1})
    part.residual.second.kernel.assign(0 * part.residual.second.kernel)
    at_the_centre(part.classifier.kernel, {(0, 0): 20, (1, 1): 20})
    found = probed(network)
    half = probing.HALF
    assert found.mean_iou(probing.TRUE_CACHE, half) > 0.7  # of a grid of 5 x 5 cells
    assert found.mean_iou(probing.OPPOSITE_CACHE, half) < 0.3
    assert found.mean_iou(probing.ONE_STEP, half) == 0  # an empty cache is passed on, too


def test_a_gate_that_is_constant_does_no_work():
    network = lively()
    excite = network.parts.cross_reference.excite
    excite.kernel.assign(0 * excite.kernel)
    found = differences(probed(network))
    for name in (probing.OTHER_GATE, probing.MEAN_GATE, probing.OTHER_CLASS):
        assert found[name] == pytest.approx(0, abs=1e-6), name


def test_a_category_vector_that_is_not_read_does_no_work():
    network = lively()
    fuse = network.parts.condition.fuse.kernel
    kernel = np.array(fuse)
    kernel[:, :, network.config.channels :] = 0
    fuse.assign(kernel)
    assert differences(probed(network))[probing.OTHER_CATEGORY] == 0


@pytest.mark.parametrize("part", ["cross_reference", "condition", "mask_refinement"])
def test_what_a_network_does_not_have_is_not_asked(part):
    found = probed(build(**{part: False})).areas
    missing = {
        "cross_reference": probing.OTHER_GATE,
        "condition": probing.OTHER_CATEGORY,
        "mask_refinement": probing.TRUE_CACHE,
    }
    assert missing.pop(part) not in found and set(missing.values()) <= set(found)


def test_the_table_has_every_change_and_its_interval():
    found = probing.summary({"novel": probed(lively(similarity=True))})
    lines = probing.table(found).splitlines()
    assert len(lines) == 2 + len(probing.CHANGES)
    row = next(line for line in lines if probing.TRUE_CACHE in line)
    assert " to " in row and "1 step" in row
    numbers = found["novel"][probing.OPPOSITE_CACHE]
    assert numbers["low"] <= numbers["value"] <= numbers["high"]


def test_the_command_writes_what_it_prints(records_dir, checkpoint, tmp_path, capsys):
    commands.run(
        command, f"--checkpoint={checkpoint}", f"--records={records_dir}", "--episodes=2",
        f"--out={tmp_path / 'out'}",
    )  # fmt: skip
    assert (tmp_path / "out" / "probe.md").read_text() in capsys.readouterr().out + "\n"
    written = json.loads((tmp_path / "out" / "probe.json").read_text())
    assert list(written) == ["novel", "base"]
