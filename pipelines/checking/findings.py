"""What a check of a data set has found: faults, warnings, counts; as text and as JSON."""

import collections
import dataclasses
import json

_SHOWN = 20  # of a kind, in the text


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and where."""

    kind: str
    file: str  # below the folder of records; "" where it concerns several
    record: str  # id of the photo, or which record of the file; "" where it concerns all
    message: str

    def __str__(self):
        return ": ".join(part for part in (self.file, self.record, self.message) if part)


@dataclasses.dataclass
class Report:
    """Everything found in one folder of records."""

    records: str
    dataset: str
    index_sha256: str
    splits: dict = dataclasses.field(default_factory=dict)  # {split: {what: count}}
    folds: dict = dataclasses.field(default_factory=dict)  # {fold: {what: count}}
    faults: list[Finding] = dataclasses.field(default_factory=list)
    warnings: list[Finding] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    def fault(self, kind: str, file: str, record: str, message: str) -> None:
        """Adds one that makes the data set wrong."""
        self.faults.append(Finding(kind, file, record, message))

    def warn(self, kind: str, file: str, record: str, message: str) -> None:
        """Adds one that somebody should look at."""
        self.warnings.append(Finding(kind, file, record, message))

    def json(self) -> str:
        """All of it."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    def text(self) -> str:
        """For a terminal; of many findings of a kind the first ones."""
        lines = [f"{self.records}: {self.dataset}, {self.seconds:.1f} s"]
        for split, counts in self.splits.items():
            counted = ", ".join(f"{count:,} {what}" for what, count in counts.items())
            lines.append(f"  {split}: {counted}")
        for fold, counts in self.folds.items():
            used, both = counts["training photos"], counts["with test classes"]
            lines.append(
                f"  fold {fold}: {both:,} of {used:,} training photos also hold test classes, "
                "as background"
            )
        for title, findings in (("faults", self.faults), ("warnings", self.warnings)):
            lines.append(f"{len(findings):,} {title}")
            kinds = collections.Counter(finding.kind for finding in findings)
            for kind, count in kinds.items():
                lines.append(f"  {kind} ({count:,})")
                shown = [str(f) for f in findings if f.kind == kind][:_SHOWN]
                lines += [f"    {line}" for line in shown]
                if count > _SHOWN:
                    lines.append(f"    and {count - _SHOWN:,} more (--out writes all)")
        return "\n".join(lines)
