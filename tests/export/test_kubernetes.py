"""The manifest and the Dockerfile of our own server ask for what that server has.

That the manifest fits Kubernetes' schema was seen with kubernetes-validate (BUILD.md).
"""

import re

import yaml
from absl import flags
from helpers.live_server import serving

from export import serve
from export.server.limits import Limits
from tools.floors import ROOT

FOLDER = ROOT / "export" / "serving"
OBJECTS = {
    one["kind"]: one for one in yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())
}
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
POD = OBJECTS["Deployment"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


def given(arguments):
    return dict(one.removeprefix("--").split("=", 1) for one in arguments)


def test_its_flags_are_the_servers():
    known = set(flags.FLAGS)
    try:
        serve.define_flags()
        values = {name: flags.FLAGS[name] for name in set(flags.FLAGS) - known}
        for name, value in given(CONTAINER["args"]).items():
            values[name].parse(value)
        assert "host" in values and "model" in values
    finally:
        for name in set(flags.FLAGS) - known:
            delattr(flags.FLAGS, name)
    assert '["crnet", "serve", "--host=0.0.0.0"]' in DOCKERFILE


def test_probes_and_metrics_are_what_it_answers():
    (container_port,) = CONTAINER["ports"]
    assert container_port["containerPort"] == 8501 and "EXPOSE 8501" in DOCKERFILE
    paths = {
        CONTAINER[f"{kind}Probe"]["httpGet"]["path"]
        for kind in ("startup", "readiness", "liveness")
    }
    annotations = OBJECTS["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    (metric,) = OBJECTS["HorizontalPodAutoscaler"]["spec"]["metrics"]
    with serving([]) as server:
        assert all(server.get(path).ok for path in paths)
        page = server.get(annotations["prometheus.io/path"]).text
        assert re.search(rf"^{metric['pods']['metric']['name']} 0", page, re.MULTILINE)


def test_it_has_the_time_to_answer_what_it_has_received():
    longest = float(given(CONTAINER["args"]).get("timeout_s", Limits().timeout_s))
    assert POD["terminationGracePeriodSeconds"] > longest


def test_nothing_in_it_is_privileged():
    own = CONTAINER["securityContext"]
    assert POD["securityContext"]["runAsNonRoot"] and "USER 1000" in DOCKERFILE
    assert not own["allowPrivilegeEscalation"] and own["capabilities"] == {"drop": ["ALL"]}
    assert own["readOnlyRootFilesystem"] and not POD["automountServiceAccountToken"]
    (models,) = [one for one in CONTAINER["volumeMounts"] if one["name"] == "models"]
    assert models["readOnly"]


def test_everything_selects_the_same_pods():
    labels = OBJECTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert OBJECTS["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert OBJECTS["Service"]["spec"]["selector"] == labels
    assert OBJECTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    name = OBJECTS["Deployment"]["metadata"]["name"]
    assert OBJECTS["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == name
