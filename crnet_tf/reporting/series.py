"""Rows of an evaluation as the lines of charts: what tells them apart, and their points.

A row is one of `evaluation.json`: a method's scores at one number of shots, k-shot method
and protocol.
"""

from crnet_tf.evaluation.results import ABOVE, STEP, method_name

Series = dict[str, tuple[list[float], list[float]]]


def labels(items: list[dict], keys=("method", "shot", "kshot", "protocol")) -> list[str]:
    """What tells rows or episodes apart: their values of those `keys` that differ at all.

    Where none does, the value of the first key.
    """
    varying = [key for key in keys if len({item[key] for item in items}) > 1] or keys[:1]
    return [", ".join(_word(key, item[key]) for key in varying) for item in items]


def _word(key, value):
    named = {"method": method_name, "shot": "{}-shot".format, "protocol": "{} protocol".format}
    return named.get(key, str)(value)


def over_shots(rows: list[dict], value: str = "mean_iou") -> Series:
    """CRNet's `value` against k, {k-shot method: (ks, values)}.

    One shot is the same under every k-shot method: evaluated once, it begins every curve.
    """
    rows = [row for row in rows if row["method"] == "crnet"]
    points = [row for row in rows if row["shot"] > 1]
    for protocol in dict.fromkeys(row["protocol"] for row in rows):
        begin = [row for row in rows if row["shot"] == 1 and row["protocol"] == protocol]
        methods = dict.fromkeys(r["kshot"] for r in points if r["protocol"] == protocol)
        if len(begin) == 1 and methods:
            begin = [{**begin[0], "kshot": kshot} for kshot in methods]
        points += begin
    return _series(points, ("kshot", "protocol"), "shot", value)


def over_steps(rows: list[dict], value: str = "mean_iou") -> Series:
    """CRNet's `value` against the refinement step (Sec. 4.5), {setting: (steps, values)}."""
    return _over_suffix(rows, STEP, value)


def over_thresholds(rows: list[dict], value: str = "mean_iou") -> Series:
    """CRNet's `value` against the probability above which a pixel is the object's."""
    return _over_suffix(rows, ABOVE, value)


def _over_suffix(rows, prefix, value):
    """Rows of methods that are `prefix` and a number, {setting: (numbers, values)}."""
    rows = [
        {**row, "x": float(row["method"].removeprefix(prefix))}
        for row in rows
        if row["method"].startswith(prefix)
    ]
    return _series(rows, ("shot", "kshot", "protocol"), "x", value)


def _series(rows, keys, x, y):
    series = {}
    rows = sorted(rows, key=lambda row: row[x])
    for row, name in zip(rows, labels(rows, keys), strict=True):
        xs, ys = series.setdefault(name, ([], []))
        xs.append(row[x])
        ys.append(row[y])
    return series
