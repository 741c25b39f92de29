"""The class for Python and notebooks: it is shown a thing, and finds it in other photos."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from crnet_tf.common import threads
from crnet_tf.common.errors import InputError
from crnet_tf.common.progress import with_progress
from crnet_tf.fewshot import deciding, examples, learnt_files
from crnet_tf.fewshot.engines import Choice
from crnet_tf.fewshot.found import Found
from crnet_tf.fewshot.learnt_files import Learnt
from crnet_tf.images import films
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.images.photo_folder import check_some_left
from crnet_tf.options import IN_USE, Options


class Segmenter:
    """Finds in photos what is marked in one or a few others.

        segmenter = Segmenter().fit("mug.jpg", "mug_mask.png")
        segmenter.predict("desk.jpg").overlay()

    Args:
        checkpoint: a .keras file written by training, or a network that is loaded already;
            default: the model that comes along.
        kshot: how several examples become one answer, of `options.KSHOT`: "mean", "fusion",
            or after fine-tuning.
        threshold: foreground is what is more probable.
        engine: what computes, see `engines`: "auto", "keras", "litert" or "litert_int8".
        options: other fields of `Options`, by name: test_scales, leave_one_out ...

    Raises:
        ValueError: an option outside its range. FileNotFoundError: there is no checkpoint.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike | None = None,
        kshot: str = IN_USE["kshot"],
        threshold: float = 0.5,
        engine: str = "auto",
        **options,
    ):
        if not 0 <= threshold <= 1:
            raise InputError(f"threshold: expected from 0 to 1, received {threshold}.")
        self.checkpoint, self.threshold = checkpoint, threshold
        self.options = Options(**IN_USE | {"kshot": kshot} | options)
        self.choice = Choice(engine, checkpoint, self.options)
        self.classes: dict[str, list[LabelledPhoto]] = {}
        self.negatives: list[LabelledPhoto] = []
        self._engine, self._predictors = None, {}

    def fit(self, photos, masks=None, negatives=()) -> "Segmenter":
        """Learns from labelled photos; what was learnt before is forgotten.

        Args:
            photos: a path, a Pillow image, an array uint8 [H,W,3] RGB, or a list of these; a
                folder of photos and masks (`a.jpg`, `a_mask.png`), or of a folder a class; a
                dict of any of these by class.
            masks: of each photo in the same form, 1 (or white) where the thing is.
            negatives: photos that do not show it, in any form of `photos` but a dict; of a
                `LabelledPhoto` with a mask only what is marked counts. What is falsely found
                there counts against what is found in a photo.

        Returns:
            Itself.

        Raises:
            ValueError: a mask too many or too few, the same example twice, or one that cannot
                serve. FileNotFoundError: a file is missing.
        """
        classes = examples.by_class(photos, masks)
        negatives = [examples.as_photo(one) for one in examples.as_list(negatives)]
        if self._engine is None:  # after the photos were read, because it takes long
            self._engine = self.choice.start()
        self._predictors = {
            name: self._engine.fit(few, negatives=negatives) for name, few in classes.items()
        }
        self.classes, self.negatives = classes, negatives
        return self

    def predict(
        self, photos, skipped: list[str] | None = None, every: float = 0
    ) -> Found | Iterator[Found]:
        """Finds what was learnt in a photo, or in one after the other.

        Args:
            photos: a path, a Pillow image or an array uint8 [H,W,3] RGB: the answer is a
                `Found`. A list of these, or a folder: the answers come one by one, in order
                and with a progress bar; some photos are read and encoded ahead. A film: so do
                those of its frames.
            skipped: gets why files of a list are left out, one line each; without it, a file
                that is no photo is an error, and so is, after its frames, a damaged film.
            every: seconds from one frame of a film to the next that is searched; 0: all are.

        Raises:
            ValueError: nothing was learnt yet, or it is no photo. FileNotFoundError: no such
                file. BlockedError: films need PyAV, which is missing.
        """
        if not self._predictors:
            raise InputError(
                "predict: expected a Segmenter that has learnt something, received one that "
                "has not. Call fit(photos, masks) first."
            )
        is_folder = isinstance(photos, examples.FILES) and os.path.isdir(photos)
        if is_folder or isinstance(photos, list | tuple):
            photos = examples.as_list(photos)
            return self._stream(photos, "photos", len(photos), skipped)
        if films.is_film(photos):
            film = films.Film(photos, every)
            return self._stream(film.frames(), "frames", film.expected, skipped)
        return self._answer(examples.as_photo(photos))

    def prepare(self) -> bool:
        """Writes the file by which this checkpoint starts in a second from now on, where LiteRT
        is installed and knows the options; takes half a minute, once.

        Returns:
            Whether it was written now.
        """
        return self.choice.prepare(getattr(self._engine, "learner", None))

    def save(self, path: str | os.PathLike) -> None:
        """Keeps what was learnt in one file: the examples and options (`learnt_files.py`)."""
        options = dataclasses.asdict(self.options)
        learnt = Learnt(self.checkpoint, options, self.threshold, self.classes, self.negatives)
        learnt_files.write(path, learnt)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike,
        checkpoint: str | os.PathLike | None = None,
        engine: str = "auto",
    ) -> "Segmenter":
        """A Segmenter that answers as the one that was saved.

        Args:
            checkpoint: where its checkpoint is now; default: where it was then.
            engine: as of `Segmenter`.

        Raises:
            ValueError: no such file, or another checkpoint. FileNotFoundError: one is missing.
        """
        learnt = learnt_files.read(path, checkpoint)
        options = learnt.options | {"threshold": learnt.threshold, "engine": engine}
        segmenter = cls(learnt.checkpoint, **options)
        return segmenter.fit(learnt.classes, negatives=learnt.negatives)

    def each(
        self, photos: Iterable, read: Callable[[Any], LabelledPhoto] = examples.as_photo
    ) -> Iterator[Found | OSError | InputError]:
        """What is found in photos, in order; in the place of one that cannot be read, why.

        Args:
            photos: taken a few ahead, so there may be any number of them.
            read: makes a photo of each.
        """
        at_once, together = self._engine.at_once, []
        for future in threads.futures_of(read, photos, ahead=at_once + threads.THREADS):
            error = future.exception()
            if error and not isinstance(error, OSError | InputError):
                raise error
            together.append(error or future.result())
            if len(together) == at_once:
                yield from self._answers(together)
                together = []
        yield from self._answers(together)

    def _answers(self, together):
        """Of photos that are encoded together, one by one."""
        self._engine.encode([one for one in together if isinstance(one, LabelledPhoto)])
        for one in together:
            yield self._answer(one) if isinstance(one, LabelledPhoto) else one

    def _stream(self, photos, title, count, skipped):
        def read(numbered):
            number, given = numbered
            if isinstance(given, InputError):
                raise given
            return examples.as_photo(given, f"photo {number}")

        answers, found = self.each(enumerate(photos, 1), read), 0
        for answer in with_progress(answers, title, count):
            if isinstance(answer, Found):
                found += 1
                yield answer
            elif skipped is None:
                raise answer
            else:
                skipped.append(str(answer))
        if skipped is not None:
            check_some_left(skipped, found + len(skipped))

    def _answer(self, photo) -> Found:
        predictors, engine = self._predictors, self._engine
        maps = engine.maps([*predictors.values()], photo)
        presences = tuple(one.presence(photo) for one in predictors.values())
        least = deciding.least_presence(self.classes, self.negatives)
        small = [one[0][-1] for one in maps]
        engine.forget(photo)  # its features would stay in memory
        last = [[steps[-1:] for steps in one] for one in maps]
        return Found(
            photo=photo,
            class_names=tuple(predictors),
            probabilities=np.concatenate([engine.restore(one, photo.image) for one in last]),
            presences=presences,
            present=tuple(deciding.there(small, presences, self.threshold, least).tolist()),
            threshold=self.threshold,
        )

    def __repr__(self):
        learnt = ", ".join(f"{name} from {len(few)}" for name, few in self.classes.items())
        model = "the model that comes along" if self.checkpoint is None else self.checkpoint
        return f"<Segmenter: {learnt or 'nothing learnt yet'}; {self.options.kshot}, {model}>"

    def _repr_png_(self):
        """The examples, one below the other; nothing before there are any."""
        from crnet_tf.images import drawing, png_files

        few = [photo for own in self.classes.values() for photo in own]
        if not few:
            return None
        rows = [drawing.row([("example", photo.image, photo.mask)]) for photo in few]
        return png_files.encode_png(drawing.contact_sheet(rows))
