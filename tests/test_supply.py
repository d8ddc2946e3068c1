"""What is shipped: licences are listed, image and manifests checked, the audit needs no network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import supply


def test_every_locked_package_has_a_licence_and_stands_in_the_list() -> None:
    text = supply.DOCUMENT.read_text("utf-8")
    for name in supply.locked():
        assert f"| {name} | {supply.licence(name)} |" in text, "run make licences"
        assert supply.licence(name) != "not stated"


def test_every_fact_has_a_licence_and_its_kind_stands_in_the_list() -> None:
    text = supply.DOCUMENT.read_text("utf-8")
    for path in supply.SEED.iterdir():
        for name in supply.sources(path):
            assert name
            assert f" | {name} |" in text, "run make licences"


def test_an_audit_fails_on_a_known_vulnerability_only(capsys: pytest.CaptureFixture[str]) -> None:
    sound = {"name": "a", "version": "1", "vulns": []}
    unknown = {"name": "b", "skip_reason": "not found"}
    flawed = {"name": "c", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
    assert supply.judged([sound, unknown]) == 0
    assert "1 packages asked about; audit skipped for 1" in capsys.readouterr().out
    assert supply.judged([sound, flawed]) == 1
    assert "c 2: CVE-1, fixed in 3" in capsys.readouterr().out


def test_the_bill_of_materials_names_every_locked_package() -> None:
    parts = supply.sbom()["components"]
    assert [part["name"] for part in parts] == supply.locked()
    assert len({part["bom-ref"] for part in parts}) == len(parts) > 20
    assert all(part["externalReferences"][0]["hashes"] for part in parts)


def test_the_image_description_has_no_finding() -> None:
    command = [str(Path(sys.executable).with_name("hadolint")), "Dockerfile"]
    done = subprocess.run(command, cwd=supply.ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_compose_file_is_valid_and_its_services_are_watched_and_locked_down() -> None:
    command = [str(Path(sys.executable).with_name("check-jsonschema")), "docker-compose.yml"]
    command += ["--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(command, cwd=supply.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    services = yaml.safe_load((supply.ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    image = (supply.ROOT / "Dockerfile").read_text("utf-8")
    assert "\nHEALTHCHECK " in image
    assert "\nUSER 10001" in image
    for name in ("database", "balancer"):
        assert services[name]["healthcheck"]["test"]
    assert services["service"]["deploy"]["replicas"] == 2
    assert services["migrate"]["command"][-1] == "migrate"
    for name in ("service", "migrate"):
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]


def test_the_manifests_that_are_shown_probe_two_replicas_that_may_write_nothing() -> None:
    page = (supply.ROOT / "docs" / "deploying.md").read_text("utf-8")
    shown = page.split("```yaml\n")[1].split("```")[0]
    found = {each["kind"]: each for each in yaml.safe_load_all(shown)}
    assert set(found) == {"Job", "Deployment", "Service"}
    deployment = found["Deployment"]["spec"]
    (container,) = deployment["template"]["spec"]["containers"]
    assert deployment["replicas"] == 2
    assert deployment["template"]["spec"]["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    probes = [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("liveness", "readiness")]
    assert probes == ["/livez", "/readyz"]
    assert found["Service"]["spec"]["selector"] == deployment["selector"]["matchLabels"]
