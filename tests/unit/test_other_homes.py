"""Kubernetes' resources and pools' job templates, against the schemas of those who read them."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import prefect
import pytest
from prefect.utilities.templating import apply_values, find_placeholders
from ruamel.yaml import YAML

from quicksilver.engine.protocol import socket_path
from quicksilver.settings import Settings
from tests.support.checkout import PROJECT

COMPOSE = PROJECT / "compose"
MANIFESTS = sorted((COMPOSE / "kubernetes").glob("*.yaml"))
# The oldest and the newest that are supported anywhere.
KUBERNETES = ("1.30", "1.34")
POOLS = {"docker": "prefect-docker", "kubernetes": "prefect-kubernetes"}


def resources(path: Path) -> list[dict[str, Any]]:
    return list(YAML(typ="safe", pure=True).load_all(path.read_text()))


ALL = [
    (path, resource)
    for path in MANIFESTS
    if path.stem != "kustomization"
    for resource in resources(path)
]
WORKLOADS = [(path, r) for path, r in ALL if r["kind"] in ("Deployment", "Job")]


def named(value: Any) -> str:
    return value.stem if isinstance(value, Path) else f"{value['kind']}-{value['metadata']['name']}"


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize(("path", "resource"), ALL, ids=named)
def test_a_resource_is_what_kubernetes_says(
    path: Path, resource: dict[str, Any], version: str
) -> None:
    kubernetes_validate.validate(resource, version, strict=True)
    if resource["kind"] != "Namespace":
        assert resource["metadata"]["namespace"] == "quicksilver"


@pytest.mark.parametrize(("path", "resource"), WORKLOADS, ids=named)
def test_a_workload_passes_the_restricted_standard(path: Path, resource: dict[str, Any]) -> None:
    pod = resource["spec"]["template"]["spec"]
    _restricted(pod)
    (container,) = pod["containers"]
    assert re.search(r":v?\d+\.\d+", container["image"])
    assert {"cpu", "memory"} <= set(container["resources"]["limits"])
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}


def _restricted(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_selectors_find_their_pods_and_services_their_ports() -> None:
    pods = {
        r["metadata"]["name"]: r["spec"]["template"] for _, r in WORKLOADS if r["kind"] != "Job"
    }
    for _, resource in ALL:
        if resource["kind"] == "Deployment":
            template = pods[resource["metadata"]["name"]]
            assert resource["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
        if resource["kind"] in ("Service", "PodDisruptionBudget"):
            spec = resource["spec"]["selector"]
            labels = spec.get("matchLabels", spec)
            assert labels["app.kubernetes.io/component"] in pods
        if resource["kind"] == "Service":
            ports = pods["receiver"]["spec"]["containers"][0]["ports"]
            assert {p["targetPort"] for p in resource["spec"]["ports"]} <= {
                p["name"] for p in ports
            }


def test_secrets_and_settings_are_ones_that_exist() -> None:
    made = set(re.findall(r"^keep (\S+)", (COMPOSE / "make-secrets.sh").read_text(), re.M))
    made |= {f"{user}_{kind}_key" for user in ("reader", "writer") for kind in ("access", "secret")}
    known = {field.alias for field in Settings.model_fields.values()} | {"QUICKSILVER_SECRETS_DIR"}
    foreign = ("PREFECT_", "DBT_", "DO_NOT_TRACK", "POD_NAME", "WORKER_LIMIT", "HOME")
    for _, resource in ALL:
        names = set(resource["data"]) if resource["kind"] == "ConfigMap" else set()
        if resource["kind"] in ("Deployment", "Job"):
            pod = resource["spec"]["template"]["spec"]
            names |= {variable["name"] for variable in pod["containers"][0].get("env", [])}
            for item in (i for v in pod["volumes"] for i in v.get("secret", {}).get("items", [])):
                assert item["key"] in made
                names.add(item["path"])
        assert {name for name in names if not name.startswith(foreign)} <= known


def test_the_engines_socket_fits() -> None:
    assert (
        socket_path({"QUICKSILVER_HOME": "/tmp/quicksilver"}) == "/tmp/quicksilver/run/engine.sock"
    )


def test_kustomization_names_what_is_there() -> None:
    (listed,) = resources(COMPOSE / "kubernetes" / "kustomization.yaml")
    assert all((COMPOSE / "kubernetes" / name).exists() for name in listed["resources"])


def prefects_own(kind: str) -> dict[str, Any]:
    """Prefect's template of a pool type, out of the server that is installed."""
    views = Path(prefect.__file__).parent / "server/api/collections_data/views"
    known = json.loads((views / "aggregate-worker-metadata.json").read_text())
    return known[POOLS[kind]][kind]["default_base_job_configuration"]


@pytest.mark.parametrize("kind", POOLS)
def test_a_job_template_is_what_prefect_says(kind: str) -> None:
    ours = json.loads((COMPOSE / "pools" / f"{kind}.json").read_text())
    own = prefects_own(kind)
    assert set(ours) == set(own)
    assert set(ours["job_configuration"]) == set(own["job_configuration"])
    properties = ours["variables"]["properties"]
    jsonschema.Draft202012Validator.check_schema(ours["variables"])
    # Every default is of the type that Prefect's own variable has.
    schema = {**own["variables"], "required": []}
    defaults = {
        name: p["default"] for name, p in properties.items() if p.get("default") is not None
    }
    jsonschema.validate(defaults, schema)
    for name, variable in properties.items():
        expected = dict(own["variables"]["properties"][name])
        expected.pop("default", None)
        assert {k: v for k, v in variable.items() if k != "default"} == expected
    used = {found.name for found in find_placeholders(ours["job_configuration"])}
    assert used == set(properties), "a placeholder without a variable, or the other way round"
    assert {name for name in defaults["env"] if name.startswith(("MINIO", "QUICKSILVER"))} <= {
        *(field.alias for field in Settings.model_fields.values()),
        "QUICKSILVER_SECRETS_DIR",
    }


def test_a_job_of_the_kubernetes_pool_is_what_kubernetes_says() -> None:
    template = json.loads((COMPOSE / "pools" / "kubernetes.json").read_text())
    properties = template["variables"]["properties"]
    values = {name: p["default"] for name, p in properties.items() if p.get("default") is not None}
    values |= {
        "name": "run",
        "labels": {"prefect.io/flow-run-id": "1"},
        "env": [{"name": name, "value": value} for name, value in values["env"].items()],
        "command": ["prefect", "flow-run", "execute"],
    }
    job = apply_values(template["job_configuration"]["job_manifest"], values, remove_notset=True)
    for version in KUBERNETES:
        kubernetes_validate.validate(job, version, strict=True)
    _restricted(job["spec"]["template"]["spec"])
    assert job["spec"]["backoffLimit"] == 0, "the ledger alone tries again"
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "2Gi"}


def test_a_server_takes_the_templates() -> None:
    """As `prefect work-pool create --base-job-template` sends them."""
    from prefect.server.schemas.actions import WorkPoolCreate

    for kind in POOLS:
        text = (COMPOSE / "pools" / f"{kind}.json").read_text()
        pool = WorkPoolCreate(name=kind, type=kind, base_job_template=json.loads(text))
        assert pool.base_job_template["variables"]


def test_the_namespace_holds_no_administrators_secret(tmp_path: Path) -> None:
    """As `make-secret.sh` makes it: whoever may make a Job there can read every Secret."""
    made = _made_secrets(tmp_path)
    used: dict[str, set[str]] = {}
    for _, resource in WORKLOADS:
        for volume in resource["spec"]["template"]["spec"]["volumes"]:
            secret = volume.get("secret", {})
            keys = {item["key"] for item in secret.get("items", [])}
            used.setdefault(secret.get("secretName", ""), set()).update(keys)
    used.pop("")
    run = json.loads((COMPOSE / "pools" / "kubernetes.json").read_text())["job_configuration"]
    for volume in run["job_manifest"]["spec"]["template"]["spec"]["volumes"]:
        keys = {item["key"] for item in volume.get("secret", {}).get("items", [])}
        used["quicksilver"] |= keys
    assert made == used, "each is there, and nothing that nobody reads"
    assert not {key for keys in made.values() for key in keys if "root" in key or "postgres" in key}
    assert "ledger_url" not in made["quicksilver"]


def _made_secrets(folder: Path) -> dict[str, set[str]]:
    """Which files the script hands to `kubectl`, by Secret; it runs, `kubectl` writes down."""
    (folder / "kubernetes").mkdir()
    for name in ("make-secrets.sh", "kubernetes/make-secret.sh"):
        shutil.copy(COMPOSE / name, folder / name)
    kubectl = folder / "kubectl"
    kubectl.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\n')
    kubectl.chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}"}
    for name in ("make-secrets.sh", "kubernetes/make-secret.sh"):
        subprocess.run(["sh", folder / name], env=environment, check=True, capture_output=True)
    found: dict[str, set[str]] = {}
    for line in (folder / "calls").read_text().splitlines():
        _, _, _, name, *arguments = line.split()
        files = [word.partition("=")[2] for word in arguments if word.startswith("--from-file=")]
        assert all((folder / "secrets" / file).is_file() for file in files)
        found[name] = set(files)
    return found


def test_every_pod_says_where_it_may_speak_to() -> None:
    policies = [r for _, r in ALL if r["kind"] == "NetworkPolicy"]
    assert all("Egress" in p["spec"]["policyTypes"] for p in policies)
    pods = [r["spec"]["template"]["metadata"]["labels"] for _, r in WORKLOADS]
    run = json.loads((COMPOSE / "pools" / "kubernetes.json").read_text())["job_configuration"]
    pods.append(run["job_manifest"]["spec"]["template"]["metadata"]["labels"])
    where = {"minio": 9000, "prefect": 4200, "postgres": 5432}
    for labels in pods:
        of_pod = [p for p in policies if _selects(p["spec"]["podSelector"], labels)]
        open_ports = {
            (namespace, port["port"])
            for policy in of_pod
            for rule in policy["spec"].get("egress", [])
            for to in rule.get("to", [{}])
            for port in rule["ports"]
            if (namespace := _namespace(to))
        }
        assert open_ports >= set(where.items()), labels
        assert ("kube-system", 53) in open_ports
        assert any("Ingress" in policy["spec"]["policyTypes"] for policy in of_pod), labels


def _selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    for name, value in selector.get("matchLabels", {}).items():
        if labels.get(name) != value:
            return False
    for rule in selector.get("matchExpressions", []):
        is_in = labels.get(rule["key"]) in rule["values"]
        if is_in != (rule["operator"] == "In"):
            return False
    return True


def _namespace(to: dict[str, Any]) -> str:
    labels = to.get("namespaceSelector", {}).get("matchLabels", {})
    return labels.get("kubernetes.io/metadata.name", "")
