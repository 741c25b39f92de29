"""One-shot episodes by a PyTorch DataLoader, to compare with; PyTorch is imported on use."""

import pathlib
import random

import numpy as np
from PIL import Image

MAX_SCALE = 1.5


class Episodes:
    """Episode number -> two photos of a class with masks, each flipped, scaled and cropped."""

    def __init__(self, root: pathlib.Path, names: dict, size: int):
        self.root, self.names, self.size = root, names, size
        augmented = root / "SegmentationClassAug"
        self.labels = augmented if augmented.is_dir() else root / "SegmentationClass"

    def __len__(self):
        return 1_000_000

    def __getitem__(self, number):
        generator = random.Random(number)
        class_id = generator.choice(sorted(self.names))
        pair = [
            self._photo(n, class_id, generator)
            for n in generator.sample(self.names[class_id], 2)
        ]
        return [array for photo in pair for array in photo]

    def _photo(self, name, class_id, generator):
        image = Image.open(self.root / "JPEGImages" / f"{name}.jpg").convert("RGB")
        label = np.asarray(Image.open(self.labels / f"{name}.png"))
        mask = Image.fromarray(np.where(label == 255, 255, label == class_id).astype(np.uint8))
        if generator.random() < 0.5:
            image, mask = (p.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for p in (image, mask))
        zoom, size = generator.uniform(1, MAX_SCALE), (self.size, self.size)
        shown = [round(side / zoom) for side in image.size]
        left, top = (
            generator.randint(0, a - b) for a, b in zip(image.size, shown, strict=True)
        )
        box = left, top, left + shown[0], top + shown[1]
        kept = np.array(mask.crop(box).resize(size, Image.Resampling.NEAREST))
        if not (kept == 1).any():  # the object was lost: the whole photo
            box = (0, 0, *image.size)
            kept = np.array(mask.resize(size, Image.Resampling.NEAREST))
        pixels = image.crop(box).resize(size, Image.Resampling.BILINEAR)
        return np.array(pixels, np.float32), kept


def loader(root: pathlib.Path, names: dict, size: int, batch_size: int):
    """Endless batches by two worker processes.

    Args:
        root: folder in VOC layout.
        names: {class id: photo ids}.
    """
    from torch.utils.data import DataLoader

    return iter(DataLoader(Episodes(root, names, size), batch_size, num_workers=2))
