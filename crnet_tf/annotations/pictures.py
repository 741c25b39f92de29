"""Answers as pictures: masks, probabilities, and the photo with what was found over it; of the
frames of a film the last is a film."""

import json
import pathlib

import numpy as np

from crnet_tf.annotations.answers import PhotoAnswer
from crnet_tf.common import files
from crnet_tf.images import drawing, films, png_files


class Writer:
    """`NAME_mask.png` (0 or 255), `NAME_probability.png` and `NAME_overlay.png` in `out`.

    Of several classes `NAME_classes.png`, a label map in VOC's colours, `NAME_overlay.png`, and
    `classes.json`, the values of label maps from 1 on and their names. Of the frames of a film
    `FILM_overlay.mp4` instead of their overlays.
    """

    def __init__(self, out: pathlib.Path, shapes: str):
        self.out, self.has_legend, self.films = out, False, {}

    def add(self, answer: PhotoAnswer) -> None:
        """Writes the pictures of a photo."""
        if len(answer.class_names) == 1:
            self._add_mask(answer)
        else:
            self._add_classes(answer)

    def finish(self) -> None:
        """Ends the films; all else is written already."""
        for film in self.films.values():
            film.close()

    def _add_mask(self, answer):
        probability = np.uint8(np.round(255 * answer.probabilities[0]))
        png_files.write_label(self.out / f"{answer.name}_mask.png", 255 * answer.mask)
        self._write(f"{answer.name}_probability.png", probability)
        self._add_overlay(answer, drawing.overlay(answer.image, answer.mask))

    def _add_classes(self, answer):
        if not self.has_legend:
            legend = dict(enumerate(answer.class_names, 1))
            text = json.dumps(legend, indent=1, ensure_ascii=False)
            files.write_text(self.out / "classes.json", text)
            self.has_legend = True
        palette = png_files.voc_palette()
        png_files.write_label(self.out / f"{answer.name}_classes.png", answer.mask, palette)
        overlay = drawing.overlay_classes(answer.image, answer.mask, palette)
        self._add_overlay(answer, overlay)

    def _add_overlay(self, answer, picture):
        if answer.moment is None:
            self._write(f"{answer.name}_overlay.png", picture)
            return
        film, seconds = answer.moment
        if film not in self.films:
            self.films[film] = films.FilmWriter(self.out / f"{film}_overlay.mp4")
        self.films[film].add(picture, seconds)

    def _write(self, name, pixels):
        png_files.write_png(self.out / name, pixels, level=png_files.FAST)
