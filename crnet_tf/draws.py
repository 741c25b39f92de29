"""Which episodes an evaluation asks for: drawn by its protocols, or those of a manifest."""

import pathlib

from crnet_tf import manifest
from crnet_tf.episode_records import StoredEpisodes
from crnet_tf.index import Index
from crnet_tf.protocols import Protocol


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
                raise ValueError(
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
            repeated = protocol.sampling == "pairs_in_order"
            entries = manifest.read(path, repeated_supports=repeated)
            manifest.check(entries, archive, path)
            return entries
        others = sorted({entry.class_id for entry in archive.entries} - set(self.classes))
        if others or self.args.negatives:
            raise ValueError(
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
