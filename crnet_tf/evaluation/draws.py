"""Which episodes an evaluation asks for: drawn by its protocols, or those of a manifest."""

import pathlib

from crnet_tf.common.errors import InputError
from crnet_tf.data.index import Index
from crnet_tf.evaluation import manifest
from crnet_tf.evaluation.episode_records import StoredEpisodes
from crnet_tf.evaluation.protocols import Protocol
from crnet_tf.evaluation.sampling import REPEATING
from crnet_tf.network import model


def chosen_classes(network: model.CRNet, index: Index, kind: str) -> tuple[int, ...]:
    """Classes to ask a network for: "novel" or "base" ones of its fold, or "all".

    "base": those that a checkpoint may be selected on; training classes, where the data set
    has none for that. "all": those that val photos show, of whatever data set.

    Raises:
        ValueError: not "all", and the records are of another data set.
    """
    if kind == "all":
        every = range(1, len(index.class_names) + 1)
        return tuple(c for c in every if index.count("val", c))
    trained_on, fold = network.config.dataset, network.config.fold
    choose = index.test_classes if kind == "novel" else index.validation_classes
    if trained_on and trained_on != index.dataset:
        raise InputError(
            f"The checkpoint was trained on fold {fold} of {trained_on}: expected records of "
            f"it, received records of {index.dataset} in {index.directory}. Which classes are "
            "unseen is known for its own data set only: evaluate with --classes=all."
        )
    return choose(*network.config.unseen_folds)


class Draws:
    """Photos and episodes of one evaluation, by its flags.

    Args:
        args: the flags `manifest`, `negatives` and `way`.
        classes: class ids to ask for.
    """

    def __init__(self, args, index: Index, classes: tuple[int, ...]):
        self.args, self.index, self.classes = args, index, classes
        self._archives = {}

    def archive(self, split: str) -> manifest.Archive | StoredEpisodes:
        """Photos of the chosen classes, or those that --manifest brings along, read once."""
        brought = _brings_photos(self.args.manifest)
        source = self.args.manifest if brought else split
        if source not in self._archives:
            self._archives[source] = (
                StoredEpisodes(source)
                if brought
                else manifest.Archive(self.index, split, self.classes)
            )
        return self._archives[source]

    def draw(self, protocol: Protocol, shot: int) -> dict[int | str, list]:
        """Episodes by seed, or those of --manifest by its name."""
        archive, args = self.archive(protocol.split), self.args
        if args.manifest:
            entries = self._given(protocol)
            if len(entries[0].support) != shot:
                raise InputError(
                    f"{args.manifest}: expected episodes of {shot} supports, received "
                    f"{len(entries[0].support)}. Give their number as --shot."
                )
            return {pathlib.Path(args.manifest).stem: entries}
        if args.way > 1:
            return {
                seed: manifest.draw_ways(archive, args.way, shot, protocol.episodes, seed)
                for seed in protocol.seeds
            }
        return {
            seed: manifest.draw(archive, shot, protocol.episodes, seed, protocol.sampling)
            for seed in protocol.seeds
        }

    def _given(self, protocol):
        """Episodes of --manifest, of the chosen classes and of these records."""
        path, archive = self.args.manifest, self.archive(protocol.split)
        if not _brings_photos(path):
            repeated = protocol.sampling in REPEATING
            entries = manifest.read(path, repeated_supports=repeated)
            manifest.check(entries, archive, path)
            return entries
        others = sorted({entry.class_id for entry in archive.entries} - set(self.classes))
        if others or self.args.negatives:
            raise InputError(
                f"{path}: expected episodes of the classes {list(self.classes)}, and no "
                f"--negatives beside it, received {others or '--negatives'}. Give the "
                "checkpoint of their fold, or a manifest of photo ids."
            )
        return archive.entries

    def negatives(
        self, archive: manifest.Archive, entries: list[manifest.Entry], seed: int | str
    ) -> list[manifest.Entry]:
        """See `manifest.negatives`; `seed` is a key of `draw`."""
        return manifest.negatives(archive, entries, 0 if self.args.manifest else seed)


def _brings_photos(path):
    return bool(path) and path.endswith(".tfrecord")
