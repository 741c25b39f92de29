"""Which model, and which version of it, a request is for."""

import dataclasses

from crnet_tf.common.errors import InputError


@dataclasses.dataclass(frozen=True)
class Target:
    """A model by name; a version by number, by label, or the one the server chooses.

    Raises:
        ValueError: both a version and a label.
    """

    model: str
    version: int | None = None
    label: str | None = None

    def __post_init__(self):
        if self.version is not None and self.label:
            raise InputError(
                f"{self.model}: expected a version or a label, received both, {self.version} "
                f"and {self.label}. Leave one of them out."
            )

    def __str__(self):
        if self.version is not None:
            return f"model {self.model} version {self.version}"
        return f"model {self.model}" + (f" label {self.label}" if self.label else "")


@dataclasses.dataclass(frozen=True)
class VersionState:
    """What a server says of a version: START, LOADING, AVAILABLE, UNLOADING or END, and why."""

    version: int
    state: str
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Description:
    """A version and, for each of its signatures, the names of the inputs."""

    version: int
    signatures: dict[str, list[str]]
