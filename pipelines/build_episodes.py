"""Evaluation episodes written down: as manifests of photo ids and, if asked, as TFRecords.

    python -m pipelines.build_episodes --records=records/voc --fold=1 --out=episodes/voc1

Writes `manifest-seed0.jsonl` for every seed of the protocol, one JSON object an episode, and
`episodes.json` with their hashes. `python -m crnet_tf.evaluate --manifest=` scores one. With
--tfrecords also `episodes-seed0.tfrecord`, which holds the photos and masks themselves and
which other frameworks can read (crnet_tf/evaluation/episode_records.py says how).
"""

from absl import flags

from crnet_tf.common import cli
from crnet_tf.common.errors import InputError
from crnet_tf.evaluation import protocols


def define_flags() -> None:
    flags.DEFINE_string("records", None, "Folder of records with index.json.", required=True)
    flags.DEFINE_integer("fold", None, "Fold, counted from 0.", required=True)
    flags.DEFINE_string("out", None, "Folder of episodes to make.", required=True)
    flags.DEFINE_enum("protocol", "crnet", list(protocols.PROTOCOLS), "Whose episodes.")
    flags.DEFINE_integer("shot", 1, "Support photos of an episode.", lower_bound=1)
    flags.DEFINE_integer(
        "episodes", None, "Of each seed; default: the protocol's.", lower_bound=1
    )
    flags.DEFINE_list("seeds", None, "Such as 0,1,2; default: the protocol's.")
    flags.DEFINE_enum("classes", "novel", ["novel", "base"], "Unseen or training classes.")
    flags.DEFINE_bool("tfrecords", False, "Write the photos and masks too.")
    flags.DEFINE_integer(
        "image_size", None, "... as squares of so many px; default: as they are.", 8
    )
    flags.DEFINE_bool("overwrite", False, "Write again what is there with other settings.")


def _seeds(values):
    whole = all(value.strip().isdecimal() for value in values)
    seeds = tuple(int(value) for value in values) if whole else ()
    if len(set(seeds)) < len(values):
        raise InputError(
            "--seeds: expected different whole numbers such as 0,1,2, received "
            f"{','.join(values)!r}."
        )
    return seeds


def main():
    from pipelines.writing.episodes import build_episodes

    args = flags.FLAGS
    made = build_episodes(
        args.records,
        args.fold,
        args.out,
        protocol=args.protocol,
        shot=args.shot,
        episodes=args.episodes,
        seeds=_seeds(args.seeds) if args.seeds else None,
        classes=args.classes,
        tfrecords=args.tfrecords,
        image_size=args.image_size,
        overwrite=args.overwrite,
    )
    names = ", ".join(made["class_names"].values())
    print(
        f"{made['dataset']} fold {made['fold']} ({names}), {made['shot']}-shot, protocol "
        f"{made['protocol']}, {made['episodes']} episodes a seed"
    )
    for deviation in made["deviations"]:
        print(f"  not as the protocol: {deviation}")
    for entry in made["manifests"]:
        print(f"  {entry['manifest_sha256'][:12]}  {', '.join(entry['files'])}")


if __name__ == "__main__":
    cli.run(main, define_flags)
