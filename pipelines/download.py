"""Downloads a data set's archives, checks them and, with --extract, unpacks them.

    python -m pipelines.download --dataset=voc --out=downloads --extract

| --dataset | archives | unpacked to |
|---|---|---|
| voc | PASCAL VOC 2012 trainval, 2.0 GB | `downloads/voc/VOCdevkit/VOC2012` |
| sbd | Semantic Boundaries (SBD), 1.4 GB | `downloads/sbd/benchmark_RELEASE` |
| coco2014 | train, val and annotations, 20.4 GB | `downloads/coco2014/{train2014,...}` |
| coco2017 | train, val and annotations, 20.4 GB | `downloads/coco2017/{train2017,...}` |

Killed or cut off, the same command goes on where it was. An archive stands at its place only
when its size and SHA-256 are the published ones.
"""

import dataclasses
import pathlib
import urllib.parse
from collections.abc import Sequence

from absl import flags

from crnet_tf.common import cli, files
from crnet_tf.common.disk import check_space
from crnet_tf.common.errors import InputError
from crnet_tf.images import photos
from pipelines.downloading import RETRIES
from pipelines.downloading.unpack import check_python, unpack

_COCO = "http://images.cocodataset.org"  # its certificate names another host: no https


@dataclasses.dataclass(frozen=True)
class Archive:
    """A file of a data set: where it is published, and what it must be."""

    url: str
    size: int | None = None  # bytes; None where nobody has said
    sha256: str | None = None

    @property
    def name(self) -> str:
        """The last part of the address."""
        return urllib.parse.unquote(urllib.parse.urlsplit(self.url).path.rpartition("/")[2])


# The publishers give no checksums. VOC and COCO: sizes and SHA-256 of TensorFlow Datasets
# (url_checksums/voc.txt, coco.txt; its VOC file is a mirror's, of the same name and size).
# SBD: SHA-256 of torchvision's prototype data sets, size from a log of torchvision's download.
DATASETS = {
    "voc": (
        Archive(
            "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
            1_999_639_040,
            "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
        ),
    ),
    "sbd": (
        Archive(
            "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/"
            "semantic_contours/benchmark.tgz",
            1_419_539_633,
            "6a5a2918d5c73ce032fdeba876574d150d9d04113ab87540a1304cbcc715be53",
        ),
    ),
    "coco2014": (
        Archive(
            f"{_COCO}/annotations/annotations_trainval2014.zip",
            252_872_794,
            "031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
        ),
        Archive(
            f"{_COCO}/zips/val2014.zip",
            6_645_013_297,
            "fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
        ),
        Archive(
            f"{_COCO}/zips/train2014.zip",
            13_510_573_713,
            "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
        ),
    ),
    "coco2017": (
        Archive(
            f"{_COCO}/annotations/annotations_trainval2017.zip",
            252_907_541,
            "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
        ),
        Archive(
            f"{_COCO}/zips/val2017.zip",
            815_585_330,
            "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
        ),
        Archive(
            f"{_COCO}/zips/train2017.zip",
            19_336_861_798,
            "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
        ),
    ),
}


def download(
    dataset: str,
    out: photos.PathLike,
    *,
    urls: Sequence[str] = (),
    mirror: str | None = None,
    extract: bool = False,
    retries: int = RETRIES,
) -> list[pathlib.Path]:
    """Brings the archives of a data set to `out`; returns their paths.

    Args:
        dataset: a key of `DATASETS`.
        out: folder of archives; `out/<dataset>` is where they are unpacked to.
        urls: addresses instead of the published ones. A file of a known name must be the
            published file; of others the sha256 is recorded and compared by later runs.
        mirror: address of a folder that holds the files under their names; asked first.
        extract: unpack them, too.
        retries: as in `fetch.fetch`.

    Raises:
        ValueError: an unknown data set, or an address that is none.
        OSError, RuntimeError: see `fetch.fetch`, `unpack.unpack`.
    """
    from pipelines.downloading import fetch

    archives = _archives(dataset, urls)
    if extract:
        check_python()
    out = pathlib.Path(out)
    files.make_folder(out)
    _check_disk(archives, out, extract)
    paths = []
    for archive in archives:
        addresses = [archive.url]
        if mirror:
            addresses.insert(0, _checked_url(f"{mirror.rstrip('/')}/{archive.name}"))
        paths.append(out / archive.name)
        digest = fetch.fetch(addresses, paths[-1], archive.sha256, archive.size, retries)
        known = "as published" if archive.sha256 else "recorded, none is published"
        print(f"{paths[-1]}: sha256 {digest} ({known})")
    if extract:
        for path in paths:
            unpack(path, out / dataset)
        print(f"unpacked to {out / dataset}")
    return paths


def _archives(dataset, urls):
    if dataset not in DATASETS:
        raise InputError(
            f"--dataset: expected one of {', '.join(DATASETS)}, received {dataset!r}."
        )
    if not urls:
        return DATASETS[dataset]
    known = {archive.name: archive for archive in DATASETS[dataset]}
    names = [Archive(_checked_url(url)).name for url in urls]
    if len(set(names)) < len(names):
        raise InputError(
            f"--urls: expected files of different names, received {', '.join(names)}. For "
            "several sources of one file, run again with the next one."
        )
    return [
        dataclasses.replace(known.get(name, Archive(url)), url=url)
        for name, url in zip(names, urls, strict=True)
    ]


def _checked_url(url):
    parts, name = urllib.parse.urlsplit(url), Archive(url).name
    if parts.scheme not in ("http", "https") or not parts.hostname or not name.strip("."):
        raise InputError(
            f"--urls, --mirror: expected addresses like https://host/path/file.zip, received "
            f"{url!r}."
        )
    if any(character in name for character in "/\\\0") or name.startswith("."):
        raise InputError(f"--urls: expected a plain file name at the end, received {name!r}.")
    return url


def _check_disk(archives, out, extract):
    missing = [archive for archive in archives if not (out / archive.name).exists()]
    needed = sum(archive.size or 0 for archive in missing)
    arrived = [out / f".{archive.name}.partial" / "part" for archive in missing]
    needed = max(0, needed - sum(path.stat().st_size for path in arrived if path.exists()))
    if extract and missing:
        # Photos are compressed already: unpacked they need about as much again.
        needed += sum(archive.size or 0 for archive in archives)
    what = "the archives and what is unpacked from them" if extract else "the archives"
    check_space(out, needed, what)


def define_flags() -> None:
    """Called when this is the program."""
    flags.DEFINE_enum("dataset", None, list(DATASETS), "Data set.", required=True)
    flags.DEFINE_string("out", "downloads", "Folder to put the archives in.")
    flags.DEFINE_list("urls", [], "Addresses instead of the published ones.")
    flags.DEFINE_string("mirror", None, "Address of a folder with the files; asked first.")
    flags.DEFINE_bool("extract", False, "Unpack to --out/<dataset>.")
    flags.DEFINE_integer("retries", RETRIES, "Fruitless attempts in a row.", 0)


def main():
    given = flags.FLAGS
    download(
        given.dataset,
        given.out,
        urls=given.urls,
        mirror=given.mirror,
        extract=given.extract,
        retries=given.retries,
    )


if __name__ == "__main__":
    cli.run(main, define_flags)
