"""Few-shot segmenters of others: checkouts that the user has, on a CPU, random weights.

Nothing of them is copied. What they take for granted (a GPU, files of weights) is patched while
they are loaded. PyTorch, torchvision and, for PFENet, OpenCV are imported on use.
"""

import contextlib
import importlib
import pathlib
import sys
from collections.abc import Callable, Iterator
from unittest import mock

from crnet_tf.common.errors import InputError


def hsnet(folder: pathlib.Path, size: int) -> Callable[[], object]:
    """juhongm999/hsnet (Min, Kang, Cho, ICCV 2021): one episode a call."""
    from torchvision.models import resnet

    without_weights = mock.patch.object(resnet, "resnet50", _without(resnet.resnet50))
    with without_weights, modules_of(folder):
        network = importlib.import_module("model.hsnet").HypercorrSqueezeNetwork(
            "resnet50", False
        )
    query, support, mask = photos(size)
    return answering(network, query, support, mask)


def pfenet(folder: pathlib.Path, size: int) -> Callable[[], object]:
    """dvlab-research/PFENet (Tian et al., TPAMI 2020): one episode a call.

    Raises:
        ValueError: a size that is not 8 n + 1, which PFENet wants.
    """
    import torch

    if size % 8 != 1:
        raise InputError(
            f"image_size: expected 8 n + 1 px, as PFENet wants, received {size}. "
            "Give 225 or 321."
        )
    on_cpu = mock.patch.object(torch.Tensor, "cuda", lambda tensor, *_: tensor)
    with on_cpu, modules_of(folder):
        network = importlib.import_module("model.PFENet").PFENet(pretrained=False)
    query, support, mask = photos(size)
    return answering(network, query, support[:, None], mask[:, None])


def canet(folder: pathlib.Path, size: int) -> Callable[[], object]:
    """icoz69/CaNet (Zhang et al., CVPR 2019): one episode a call, of one pass. Its own test
    makes several, each of which sees the answer of the last."""
    import torch

    with modules_of(folder):
        network = importlib.import_module("one_shot_network").Res_Deeplab(2)
    query, support, mask = photos(size)
    return answering(network, query, support, mask[:, None], torch.zeros(1, 2, 50, 50))


PEERS = {"hsnet": hsnet, "pfenet": pfenet, "canet": canet}


def photos(size: int):
    """Query and support [1,3,S,S], and the support's mask [1,S,S]: a square in the middle."""
    import torch

    mask = torch.zeros(1, size, size)
    mask[:, size // 4 : size // 2, size // 4 : size // 2] = 1
    return torch.randn(1, 3, size, size), torch.randn(1, 3, size, size), mask


def answering(network, *episode) -> Callable[[], object]:
    """What answers an episode whenever it is called."""
    import torch

    network.eval()

    def answer():
        with torch.inference_mode():
            return network(*episode)

    return answer


@contextlib.contextmanager
def modules_of(folder: pathlib.Path) -> Iterator[None]:
    """Imports of a checkout's modules, which others name alike, are found and then forgotten.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"No folder '{folder}'. Give the path of a checkout.")
    before = {*sys.modules}
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        new = {name: _places(sys.modules[name]) for name in {*sys.modules} - before}
        for name, places in new.items():  # a package is asked for while its parent is there
            if any(str(folder) in place for place in places):
                del sys.modules[name]


def _places(module):
    """Where a module's file, or a package's folders are."""
    return [getattr(module, "__file__", None) or "", *getattr(module, "__path__", ())]


def _without(build):
    """A builder of networks that leaves out weights to be downloaded."""
    return lambda pretrained=False: build()
