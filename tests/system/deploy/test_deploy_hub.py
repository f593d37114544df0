"""The values for JupyterHub: what its hook gives a user's namespace, asked of a real API server with the Hub's own rights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from kubernetes_asyncio import client
from test_deploy_chart import CHART, EVERYTHING, FACILITY, Helm, program

__all__ = ["program"]
VALUES = Path(CHART).parent / "jupyterhub-values.yaml"


def hook() -> Any:
    """Return the hook that the values give KubeSpawner."""
    code = yaml.safe_load(VALUES.read_text())["hub"]["extraConfig"]["20-offload"]
    settings = SimpleNamespace(KubeSpawner=SimpleNamespace())
    names: dict[str, Any] = {"c": settings}
    exec(compile(code, str(VALUES), "exec"), names)
    return settings.KubeSpawner.pre_spawn_hook


async def test_each_user_gets_a_namespace_with_rights_of_its_own(program, kubernetes, tmp_path) -> None:
    helm = Helm(program, kubernetes, tmp_path)
    values = EVERYTHING | {"relay": {"enabled": False}, "users": yaml.safe_load(FACILITY.read_text())["users"]}
    helm.ok("install", "offload", str(CHART), "-f", helm.values(values))
    kubernetes.make_account("hub")
    settings = client.Configuration(host=kubernetes.url)
    settings.ssl_ca_cert = str(kubernetes.ca_file)
    settings.api_key = {"BearerToken": f"Bearer {kubernetes.token('hub')}"}
    try:
        async with client.ApiClient(settings) as connection:
            spawner = SimpleNamespace(namespace="jupyter-alice", api=client.CoreV1Api(connection))
            await hook()(spawner)
            await hook()(spawner)  # at the next start
            copied = await spawner.api.read_namespaced_config_map("jupyter-offload-sites", spawner.namespace)
            assert "leonardo.yaml" in copied.data
        token = kubernetes.token("jupyter-offload-user", "jupyter-alice")
        settings.api_key = {"BearerToken": f"Bearer {token}"}
        async with client.ApiClient(settings) as connection:
            user = client.CoreV1Api(connection)
            assert (await user.list_namespaced_pod("jupyter-alice")).items == []
            for elsewhere in (kubernetes.namespace, "default"):
                try:
                    await user.list_namespaced_pod(elsewhere)
                except client.ApiException as error:
                    assert error.status == 403
                else:
                    raise AssertionError(f"alice sees the pods of {elsewhere}")
    finally:
        helm.ok("uninstall", "offload")
