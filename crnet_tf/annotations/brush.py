"""Label Studio's brush strokes: a mask as run lengths of bits (thi.ng's rle-pack), in which a
pixel counts four times, as red, green, blue and alpha.

    32 bits   how many values there are          5 bits   size of a value, less 1
    4 x 4 bits   sizes of lengths, less 1
    then blocks: 1 bit "equal values?", 2 bits which size, length less 1, one value or all
"""

import numpy as np

from crnet_tf.common.errors import InputError

CHANNELS, _VALUE, _LENGTHS = 4, 8, (3, 4, 8, 16)


def encoded(mask: np.ndarray) -> list[int]:
    """The bytes of a mask bool [H,W]."""
    values = np.repeat(mask.ravel(), CHANNELS)
    starts = np.flatnonzero(np.diff(values, prepend=~values[:1]))
    lengths = np.diff([*starts, values.size])
    bits = [f"{values.size:032b}", f"{_VALUE - 1:05b}", *(f"{n - 1:04b}" for n in _LENGTHS)]
    for value, length in zip(values[starts].tolist(), lengths.tolist(), strict=True):
        bits += _blocks(255 * value, length)
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8))


def decoded(rle: list[int], height: int, width: int) -> np.ndarray:
    """The mask bool [H,W] of such bytes: where alpha is not 0.

    Raises:
        InputError: they are damaged, or of a mask of another size.
    """
    bits = _Bits(rle)
    count, value_size = bits.take(32), bits.take(5) + 1
    sizes = [bits.take(4) + 1 for _ in range(4)]
    if count != height * width * CHANNELS:
        raise InputError(
            f"expected brush strokes on {width}x{height} px, received {count / CHANNELS:.0f} px"
        )
    parts, left = [], count
    while left > 0:
        equal, length_size = bits.take(1), sizes[bits.take(2)]
        length = bits.take(length_size) + 1
        values = [bits.take(value_size) for _ in range(1 if equal else length)]
        parts.append(np.resize(np.array(values) > 0, length))
        left -= length
    return np.concatenate(parts)[:count].reshape(height, width, CHANNELS)[..., 3]


def _blocks(value, length):
    while length:
        now = min(length, 1 << _LENGTHS[-1])
        kind = next(i for i, size in enumerate(_LENGTHS) if now <= 1 << size)
        yield f"1{kind:02b}{now - 1:0{_LENGTHS[kind]}b}{value:0{_VALUE}b}"
        length -= now


class _Bits:
    """Bits of bytes, taken from the front."""

    def __init__(self, given):
        self.text, self.place = "".join(f"{byte:08b}" for byte in bytes(given)), 0

    def take(self, count):
        self.place += count
        if self.place > len(self.text):
            raise InputError("expected brush strokes of more bytes, received damaged ones")
        return int(self.text[self.place - count : self.place], 2)
