"""The pools docker and kubernetes and the manifests, as far as they can be checked without an engine.

Prefect's own classes render the templates, Kubernetes' own schemas and docker-py judge what comes out.
"""

from __future__ import annotations

import asyncio
import copy
import json
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from flows.execution.supervisor import GRACE

REPOSITORY = Path(__file__).resolve().parents[2]
KUBERNETES = "1.34"
GPU = {"driver": "nvidia", "count": 2, "capabilities": [["gpu"]]}
MANIFESTS, TORCHRUN = (
    list(yaml.safe_load_all((REPOSITORY / "deploy" / name).read_text("utf-8")))
    for name in ("kubernetes.yaml", "torchrun.yaml")
)


@pytest.mark.parametrize("name", ["docker", "kubernetes"])
def test_a_template_declares_just_what_it_uses_and_says_what_it_is(name):
    """Prefect's server refuses a placeholder without a variable; a variable without a placeholder changes nothing."""
    from jsonschema import Draft202012Validator
    from prefect.utilities.templating import find_placeholders

    template = _template(name)
    variables = template["variables"]
    assert {each.name for each in find_placeholders(template["job_configuration"])} == set(variables["properties"])
    defaults = {key: each["default"] for key, each in variables["properties"].items() if "default" in each}
    Draft202012Validator.check_schema(variables)
    Draft202012Validator(variables).validate(defaults)
    assert all(each["title"] and each["description"] for each in variables["properties"].values())


def test_a_container_has_its_servers_volumes_and_the_workers_credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    created = _container()
    environment = dict(pair.split("=", 1) for pair in created["Env"])
    assert environment["PREFECT_API_URL"] == "http://prefect.example:4200/api"
    assert environment["MLFLOW_TRACKING_URI"] == "http://mlflow.example:5000"
    assert (environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]) == ("key", "secret")
    assert environment["UNROLL_RESUME"] == "/resume"
    assert environment["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule"
    assert created["Image"] == "unroll:latest"
    assert created["Cmd"] == ["prefect", "flow-run", "execute"]
    assert "Entrypoint" not in {key for key, value in created.items() if value}  # the image's tini stays
    host = created["HostConfig"]
    assert host["Binds"] == ["unroll-resume:/resume", "unroll-cache:/unroll/.dvc/cache"]
    assert host["ShmSize"] == 2**30
    assert host["CapDrop"] == ["ALL"]
    assert not host["DeviceRequests"]
    kept_by_the_server = _template("docker")["variables"]["properties"]["env"]["default"]
    assert kept_by_the_server["AWS_SECRET_ACCESS_KEY"] == "{{ $AWS_SECRET_ACCESS_KEY }}"


def test_a_container_gets_the_limits_and_gpus_asked_for():
    host = _container(mem_limit="16g", nano_cpus=2_000_000_000, device_requests=[GPU], shm_size="8g")["HostConfig"]
    assert host["Memory"] == 16 * 2**30
    assert host["NanoCpus"] == 2_000_000_000
    assert host["ShmSize"] == 8 * 2**30
    assert host["DeviceRequests"] == [
        {"Driver": "nvidia", "Count": 2, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {}}
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a container's network is not the machine's")
def test_a_container_shares_the_network_with_servers_on_its_machine():
    assert _container(api="http://127.0.0.1:4200/api")["HostConfig"]["NetworkMode"] == "host"
    assert _container()["HostConfig"].get("NetworkMode") != "host"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"volumes": ["resume/:here:there:rw"]}, "volume"),
        ({"image_pull_policy": "Sometimes"}, "image_pull_policy"),
        ({"mem_limit": 16.5}, "mem_limit"),
        ({"device_requests": {"count": 1}}, "device_requests"),
        ({"shm_size": "much"}, "shm_size|much"),
    ],
)
def test_a_container_that_docker_would_refuse_is_refused_here(wrong, said):
    with pytest.raises(Exception, match=said):
        _container(**wrong)


def test_a_job_fits_the_schema_and_has_what_a_stage_needs():
    job = _job()
    _validate(job)
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert job["metadata"]["namespace"] == "unroll"
    assert job["metadata"]["generateName"] == "clever-otter-"
    assert (spec["backoffLimit"], spec["completions"], spec["parallelism"]) == (0, 1, 1)
    assert spec["ttlSecondsAfterFinished"] == 86_400
    assert pod["terminationGracePeriodSeconds"] >= max(20, 2 * GRACE)
    assert pod["automountServiceAccountToken"] is False
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert "command" not in container  # the image's tini stays
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert environment["PREFECT_API_URL"] == "http://prefect.example:4200/api"
    assert environment["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    assert environment["UNROLL_RESUME"] == "/resume"
    assert environment["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule"
    assert container["envFrom"] == [{"secretRef": {"name": "unroll-credentials", "optional": True}}]
    assert {each["name"]: each["mountPath"] for each in container["volumeMounts"]} == {
        "resume": "/resume",
        "cache": "/unroll/.dvc/cache",
        "shared-memory": "/dev/shm",
    }
    assert pod["volumes"][2]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}
    assert container["resources"]["limits"] == {}


def test_a_job_gets_the_resources_asked_for():
    toleration = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    job = _job(
        gpus=4,
        cpu_request="8",
        cpu_limit="16",
        memory_request="32Gi",
        memory_limit="64Gi",
        shared_memory="16Gi",
        node_selector={"accelerator": "h200"},
        tolerations=[toleration],
        image="registry.example/unroll:1",
        env={"UNROLL_RESUME": "/elsewhere", "MORE": "1"},
    )
    _validate(job)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"] == {
        "limits": {"cpu": "16", "memory": "64Gi", "nvidia.com/gpu": 4},
        "requests": {"cpu": "8", "memory": "32Gi"},
    }
    assert container["image"] == "registry.example/unroll:1"
    assert pod["nodeSelector"] == {"accelerator": "h200"}
    assert pod["tolerations"] == [toleration]
    assert pod["volumes"][2]["emptyDir"]["sizeLimit"] == "16Gi"
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert (environment["UNROLL_RESUME"], environment["MORE"]) == ("/elsewhere", "1")
    assert environment["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"  # the pool's own stay


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("spec.backOffLimit", 0),
        ("spec.backoffLimit", "none"),
        ("spec.template.spec.completions", 1),
        ("spec.template.spec.terminationGracePeriodSeconds", "long"),
        ("spec.template.spec.containers.0.volumeMounts.0.mountpath", "/resume"),
        ("spec.template.spec.containers.0.envFrom.0.secretRef.nam", "x"),
        ("spec.template.spec.volumes.0.persistentVolumeClaim", {}),
        ("spec.template.spec.containers.0.image", 1),
    ],
)
def test_a_job_that_kubernetes_would_refuse_is_refused_here(path, wrong):
    from kubernetes_validate import ValidationError

    job = _job()
    _put(job, path, wrong)
    with pytest.raises(ValidationError):
        _validate(job)


@pytest.mark.parametrize(
    "manifest", [*MANIFESTS, *TORCHRUN], ids=lambda each: f"{each['kind']}-{each['metadata']['name']}"
)
def test_each_manifest_fits_its_schema_and_a_misspelt_one_does_not(manifest):
    from kubernetes_validate import ValidationError

    _validate(manifest)
    wrong = copy.deepcopy(manifest)
    wrong["metadata"]["nam"] = wrong["metadata"].pop("name")
    with pytest.raises(ValidationError):
        _validate(wrong)
    for part in ("spec", "roleRef", "rules"):
        if part in manifest:
            with pytest.raises(ValidationError):
                _validate({**manifest, part: "x"})


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_nothing_wrong_with_the_service():
    command = ["systemd-analyze", "verify", str(REPOSITORY / "deploy/unroll.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""  # it warns of a wrong value, and goes on


def test_the_pods_of_the_ray_cluster_are_pods_of_our_image_and_of_one_version():
    """KubeRay's own schema is not at hand: what stands around the pods' templates was compared with it once."""
    from kubernetes_validate import ValidationError

    cluster = yaml.safe_load((REPOSITORY / "deploy/ray.yaml").read_text("utf-8"))
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    locked = (REPOSITORY / "requirements-cluster.lock").read_text("utf-8")
    assert f"\nray=={cluster['spec']['rayVersion']} " in locked
    namespace = cluster["metadata"]["namespace"]
    services = {each["metadata"]["name"] for each in MANIFESTS if each["kind"] == "Service"}
    for group in (cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "x", "namespace": namespace},
            **group["template"],
        }
        _validate(pod)
        with pytest.raises(ValidationError):
            _validate({**pod, "spec": {**pod["spec"], "container": []}})
        (container,) = pod["spec"]["containers"]
        environment = {each["name"]: each["value"] for each in container["env"]}
        assert container["image"] == _pod("worker")["containers"][0]["image"]
        assert environment["UNROLL_NODE_FOLDER"].startswith("/resume/")
        assert environment["MLFLOW_TRACKING_URI"].removeprefix("http://").split(":")[0] in services
        assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["spec"]["volumes"]}


def test_the_pods_that_train_together_find_each_other():
    """The first one's address is its name below the Service's; each is told how many they are."""
    service, job = TORCHRUN
    template = job["spec"]["template"]
    (container,) = template["spec"]["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert service["spec"] == {"clusterIP": "None", "selector": template["metadata"]["labels"]}
    assert template["spec"]["subdomain"] == service["metadata"]["name"]
    assert environment["PET_MASTER_ADDR"] == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert int(environment["PET_NNODES"]) == job["spec"]["completions"] == job["spec"]["parallelism"]
    assert {each["name"] for each in container["volumeMounts"]} == {
        each["name"] for each in template["spec"]["volumes"]
    }


def test_the_manifests_name_each_other_and_the_pool():
    """What a Job or a worker asks for by name is there, under that name, in the same namespace."""
    named = {(each["kind"], each["metadata"]["name"]): each for each in MANIFESTS}
    assert {each["metadata"].get("namespace", "unroll") for each in MANIFESTS} == {"unroll"}
    deployments = [each for each in MANIFESTS if each["kind"] == "Deployment"]
    pods = [each["spec"]["template"]["spec"] for each in deployments] + [_job()["spec"]["template"]["spec"]]
    for pod in pods:
        volumes = {each["name"]: each for each in pod.get("volumes", [])}
        for volume in volumes.values():
            if claim := volume.get("persistentVolumeClaim"):
                assert ("PersistentVolumeClaim", claim["claimName"]) in named
        for container in pod["containers"]:
            assert {each["name"] for each in container.get("volumeMounts", [])} == set(volumes)
    for deployment in deployments:
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"] == labels
        name = deployment["metadata"]["name"]
        if service := named.get(("Service", name)):
            assert service["spec"]["selector"] == labels
            (container,) = deployment["spec"]["template"]["spec"]["containers"]
            assert [each["port"] for each in service["spec"]["ports"]] == [
                each["containerPort"] for each in container["ports"]
            ]
    (worker,) = named["Deployment", "worker"]["spec"]["template"]["spec"]["containers"]
    assert worker["args"] == ["prefect", "worker", "start", "--pool", "kubernetes"]
    urls = [each["value"] for each in worker["env"] if each["name"] == "PREFECT_API_URL"]
    urls.append(_template("kubernetes")["variables"]["properties"]["env"]["default"]["MLFLOW_TRACKING_URI"])
    for url in urls:
        host, port = url.removeprefix("http://").removesuffix("/api").split(":")
        assert named["Service", host]["spec"]["ports"][0]["port"] == int(port)


def test_the_worker_may_do_what_it_does_and_no_more():
    named = {(each["kind"], each["metadata"]["name"]): each for each in MANIFESTS}
    allowed = {
        (group, resource): set(rule["verbs"])
        for rule in named["Role", "unroll-worker"]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert set(allowed) == {("batch", "jobs"), ("", "pods"), ("", "pods/log"), ("", "pods/status")}
    assert {"create", "delete", "get", "list", "watch"} <= allowed["batch", "jobs"]
    assert allowed["", "pods"] == {"get", "list", "watch"}
    binding = named["RoleBinding", "unroll-worker"]
    pod = named["Deployment", "worker"]["spec"]["template"]["spec"]
    assert binding["roleRef"]["name"] == "unroll-worker"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": pod["serviceAccountName"], "namespace": "unroll"}]


def test_image_pools_and_manifests_speak_of_the_same_user_and_folders():
    from dockerfile_parse import DockerfileParser

    dockerfile = DockerfileParser(str(REPOSITORY / "deploy/Dockerfile"), cache_content=True)
    environment = dockerfile.envs
    assert environment["UNROLL_CHECKOUT"] == "/unroll"
    assert environment["PATH"].startswith("/unroll/.venv/bin:")
    assert [each["value"] for each in dockerfile.structure if each["instruction"] == "USER"] == ["1000:1000"]
    assert any("useradd --create-home --uid 1000" in each["value"] for each in dockerfile.structure)
    for name in ("docker", "kubernetes"):
        defaults = _template(name)["variables"]["properties"]["env"]["default"]
        assert defaults["UNROLL_RESUME"] == environment["UNROLL_RESUME"] == "/resume"
        assert defaults["PREFECT_HOME"] == environment["PREFECT_HOME"]
        assert _template(name)["variables"]["properties"]["image"]["default"] == "unroll:latest"
    for pod in [*map(_pod, ("prefect", "mlflow", "worker")), _job()["spec"]["template"]["spec"]]:
        assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 1000
        for container in pod.get("initContainers", []) + pod["containers"]:
            assert container["image"] == "unroll:latest"
            assert "command" not in container
            assert container["securityContext"]["allowPrivilegeEscalation"] is False


def _template(name: str) -> dict[str, Any]:
    template: dict[str, Any] = json.loads((REPOSITORY / "flows/pools" / f"{name}.json").read_text("utf-8"))
    return template


def _configuration(name: str, values: dict[str, Any], api: str) -> Any:
    """What a worker of the pool makes of a flow run with these job variables."""
    from prefect.client.schemas.objects import FlowRun
    from prefect.settings import PREFECT_API_URL, temporary_settings
    from prefect_docker.worker import DockerWorkerJobConfiguration
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    kind: Any = {"docker": DockerWorkerJobConfiguration, "kubernetes": KubernetesWorkerJobConfiguration}[name]
    run = FlowRun(id=uuid.uuid4(), flow_id=uuid.uuid4(), name="clever-otter")
    with temporary_settings({PREFECT_API_URL: api}):
        # no reference to a block is in the templates, so no server is asked
        configuration = asyncio.run(kind.from_template_and_values(_template(name), values, client=object()))
        configuration.prepare_for_flow_run(run)
    return configuration


def _job(**values: Any) -> Any:
    return _configuration("kubernetes", values, "http://prefect.example:4200/api").job_manifest


def _container(api: str = "http://prefect.example:4200/api", **values: Any) -> dict[str, Any]:
    """The body of the request in which docker-py asks the engine for the container."""
    from docker.api.container import ContainerApiMixin
    from docker.models.containers import _create_container_args
    from prefect_docker.worker import DockerWorker

    engine: Any = SimpleNamespace(version=lambda: {"Version": "28.0.0"})
    configuration = _configuration("docker", values, api)
    settings = DockerWorker(work_pool_name="docker", test_mode=True)._build_container_settings(engine, configuration)
    settings.pop("name")  # the worker hands it over apart
    arguments = _create_container_args({**settings, "version": "1.48"})
    client: Any = SimpleNamespace(_version="1.48", _general_configs={})
    accepted = {key: value for key, value in arguments.items() if key not in ("name", "platform")}
    return dict(ContainerApiMixin.create_container_config(client, **accepted))


def _pod(deployment: str) -> dict[str, Any]:
    (found,) = [each for each in MANIFESTS if (each["kind"], each["metadata"]["name"]) == ("Deployment", deployment)]
    pod: dict[str, Any] = found["spec"]["template"]["spec"]
    return pod


def _validate(manifest: dict[str, Any]) -> None:
    import kubernetes_validate

    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def _put(document: Any, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for key in parents:
        document = document[int(key)] if key.isdigit() else document[key]
    document[last] = value
