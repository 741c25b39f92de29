"""What is left out of a set, or looks odd, counted by kind with the first of each named."""


class Tally:
    """Counts of things by what is said of them."""

    def __init__(self):
        self._counts, self._first = {}, {}

    def add(self, said: str, where: str) -> None:
        """Counts one more.

        Args:
            said: what is said behind the number, "objects without a segmentation; left out".
            where: file, and what in it.
        """
        self._counts[said] = self._counts.get(said, 0) + 1
        self._first.setdefault(said, where)

    def notes(self) -> list[str]:
        """A sentence a kind, in the order in which they were met."""
        return [f"{n} {said} (first: {self._first[said]})." for said, n in self._counts.items()]
