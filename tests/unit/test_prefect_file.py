"""`prefect.yaml`: what every deployment says of itself."""

from typing import Any

from ruamel.yaml import YAML

from tests.support.checkout import PROJECT


def test_every_deployment_tells_its_dataset_layer_and_owner() -> None:
    said: Any = YAML(typ="safe").load(PROJECT / "prefect.yaml")
    assert len(said["deployments"]) >= 7
    for deployment in said["deployments"]:
        name = f"{deployment['entrypoint']} {deployment['name']}"
        tags = dict(tag.split(":", 1) for tag in deployment["tags"])
        if deployment["entrypoint"].endswith(".silver_build"):
            # Its runs have the tag of their own dataset, and would have this one beside it.
            assert set(tags) == {"layer", "owner"}, name
            continue
        assert set(tags) == {"dataset", "layer", "owner"}, name
        # One that serves whatever dataset it is told of says so by `any`.
        dataset = deployment.get("parameters", {}).get("dataset")
        assert dataset in (None, tags["dataset"]), name
