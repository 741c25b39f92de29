"""What a user is to know of their files and need not mend: said once of each kind."""

_said = set()


def say_once(kind: str, text: str) -> None:
    """Prints `text` where nothing of this `kind` was said in this process before: a folder may
    hold thousands of files alike."""
    if kind not in _said:
        _said.add(kind)
        print(f"{text} (Said once; others may be alike.)", flush=True)


def forget() -> None:
    """From now on everything counts as not said yet."""
    _said.clear()
