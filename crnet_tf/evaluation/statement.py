"""What an evaluation says beside its scores: how it departs from its protocols, where it comes
from, and pictures of some episodes. `run` is always a `run.Run`."""

import dataclasses
import time

from crnet_tf.common import provenance
from crnet_tf.evaluation import manifest, protocols, results
from crnet_tf.evaluation import panels as choice
from crnet_tf.evaluation.protocols import Protocol
from crnet_tf.evaluation.scoring import panel

PANELS = 3  # best, median and worst episodes each that the report shows


def of_row(run, protocol: Protocol, drawn: dict) -> dict:
    """What every row says of its episodes and of how it departs from its protocol."""
    config, count = run.network.config, len(next(iter(drawn.values())))
    published = protocols.protocol(protocol.name, run.index.dataset)
    deviations = protocols.deviations(
        published,
        classes=kind(run),
        index_filter=run.index.filter,
        photo_list=run.index.photo_list,
        novel_images="dropped" if config.drop_novel_images else "kept",
        input_size=protocol.input_size,
        episodes=count,
        seeds=protocol.seeds,
        network_size=config.image_size,
    )
    deviations += protocols.answer_deviations(published, run.options, config)
    if run.args.engine == "litert_int8":
        deviations.append("weights of 8 bits (protocol: 32)")
    asked = min(len({c for e in some for c, _ in e.examples}) for some in drawn.values())
    if asked < len(run.classes):  # the others are in no mean
        deviations.append(f"{asked} of {len(run.classes)} classes asked (protocol: all)")
    if run.args.way > 1:
        deviations.append(
            f"{run.args.way} classes at once, at the photo's own size, void ignored "
            "(protocol: one)"
        )
    return {
        "way": run.args.way,
        "seeds": list(drawn),
        "episodes": count,
        "manifest_sha256": [manifest.sha256(entries) for entries in drawn.values()],
        "select_on": config.select_on,
        "deviations": deviations,
    }


def whole(run, scored: list[results.Scored]) -> dict:
    """Content of `evaluation.json`."""
    args, names = run.args, run.index.class_names
    return {
        "checkpoint": str(run.checkpoint),
        "engine": run.args.engine,
        "dataset": run.index.dataset,
        "records_sha256": run.index.sha256,
        "fold": run.network.config.fold,
        "classes": kind(run),
        "class_names": {str(c): names[c - 1] for c in run.classes},
        "session": provenance.describe_session(),
        "options": dataclasses.asdict(run.options)
        | {"kshot": ",".join(args.kshot), "input_size": args.input_size},
        "seconds": round(time.time() - run.started, 1),
        "rows": [row for one in scored for row in one.rows],
        "presence": next((one.presence for one in scored if one.presence), None),
    }


def kind(run) -> str:
    """Of the classes asked for: "novel", "base", "all" or "calibration"."""
    # Base classes that acted as unseen say nothing of those of the fold.
    calibrates = run.args.classes == "novel" and run.network.config.calibration_fold >= 0
    return "calibration" if calibrates else run.args.classes


def panels(run, episodes: list[dict]) -> dict[str, list]:
    """{"best" | "median" | "worst": [(caption, picture)]} of the first combination."""
    if not episodes:  # of several ways
        return {}
    first, kshot = run.protocols()[0], episodes[0]["kshot"]
    learner, archive = run.learner(first, kshot), run.draws.archive(first.split)
    keys = ("protocol", "shot", "kshot")
    same = [e for e in episodes if all(e[key] == episodes[0][key] for key in keys)]

    def drawn(e):
        entry = manifest.Entry(e["class_id"], tuple(e["support"]), e["query"])
        caption = choice.caption(e, run.index.class_names)
        return caption, panel(learner, archive, entry)

    chosen = choice.chosen(same, PANELS)
    return {kind: list(map(drawn, some)) for kind, some in chosen.items()}
