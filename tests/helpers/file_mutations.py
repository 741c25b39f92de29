"""Files with faults that their structure allows, as hypothesis strategies."""

import io
import json
import tarfile
import zipfile

import tensorflow as tf
from hypothesis import strategies as st

from helpers.json_mutations import mutated
from helpers.malformed_images import damaged


@st.composite
def changed_examples(draw, serialized):
    """The records, one of them with a field dropped or of another content."""
    place = draw(st.integers(0, len(serialized) - 1))
    example = tf.train.Example.FromString(serialized[place])
    feature = example.features.feature
    key = draw(st.sampled_from(sorted(feature)))
    action = draw(st.sampled_from(["drop", "bytes", "number", "damage", "double"]))
    content = feature[key].bytes_list.value[:1] or [b"7"]
    if action == "drop":
        del feature[key]
    elif action == "number":
        feature[key].int64_list.value[:] = [draw(st.sampled_from([-1, 0, 1, 2**31, 2**62]))]
    else:
        value = draw(st.binary(max_size=60) if action == "bytes" else damaged(content))
        feature[key].bytes_list.value[:] = [value] * (2 if action == "double" else 1)
    changed = example.SerializeToString()
    return [*serialized[:place], changed, *serialized[place + 1 :]]


@st.composite
def changed_zips(draw, content):
    """The archive with a fault in its bytes, or one within a member, the sums made right."""
    if draw(st.booleans()):
        return draw(damaged([content]))
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w") as new:
        names = old.namelist()
        chosen = draw(st.sampled_from(names))
        for name in names:
            member = old.read(name)
            if name == chosen:
                as_json = name.endswith(".json") and draw(st.booleans())
                changes = mutated(json.loads(member)).map(json.dumps) if as_json else None
                member = draw(changes or damaged([member]) | st.just(b""))
            new.writestr(name, member)
    return changed.getvalue()


NAMES = (
    "../b",
    "/tmp/crnet-escaped",
    "a/../../b",
    "a//b",
    "C:\\b",
    "a\0b",
    ".",
    "é" * 99,
    "a",
)


@st.composite
def hostile_archives(draw):
    """A tar or zip file with names and links that lead elsewhere, and maybe with damage."""
    buffer, names = io.BytesIO(), draw(st.lists(st.sampled_from(NAMES), max_size=4))
    if draw(st.booleans()):
        with zipfile.ZipFile(buffer, "w") as archive:
            for name in dict.fromkeys(names):
                archive.writestr(name, b"x" * draw(st.sampled_from([0, 9, 9000])))
    else:
        kinds = (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE,
                 tarfile.FIFOTYPE, tarfile.CHRTYPE)  # fmt: skip
        with tarfile.open(fileobj=buffer, mode=draw(st.sampled_from(["w", "w:gz"]))) as archive:
            for name in names:
                info = tarfile.TarInfo(name)
                info.type, info.linkname = draw(st.sampled_from(kinds)), "../../elsewhere"
                archive.addfile(info)
    content = buffer.getvalue()
    return draw(damaged([content])) if draw(st.booleans()) else content
