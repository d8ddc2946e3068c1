"""What is shipped and under which terms: `python -m tests.supply audit|sbom|licences`.

`audit` asks the public advisory service about every locked package and fails on a known
vulnerability; where the service cannot be asked it says so and passes. `sbom` prints a CycloneDX
bill of materials (specification 1.6) of the lock. `licences` writes docs/licences.md out of the
packages' own metadata and the seed facts' provenance.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

from service import __version__

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
SEED = ROOT / "service" / "catalog" / "seed"
DOCUMENT = ROOT / "docs" / "licences.md"
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(.*(?:\n    .*)*)", re.MULTILINE)
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def locked() -> list[str]:
    """The packages that a server is installed with."""
    return [name for name, _, _ in PINNED.findall(LOCK.read_text("utf-8"))]


def audit() -> int:
    """0 unless a known vulnerability is found."""
    command = [
        str(Path(sys.executable).with_name("pip-audit")),
        *("--requirement", str(LOCK), "--disable-pip", "--require-hashes"),
        *("--format", "json", "--progress-spinner", "off"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout)["dependencies"]
    except ValueError:
        last = done.stderr.strip().splitlines()[-1:]
        print("audit skipped: the advisory service cannot be asked", *last)
        return 0
    return judged(found)


def judged(found: list[dict[str, Any]]) -> int:
    """Print what an audit found; 1 where a package has a known vulnerability."""
    skipped = [package["name"] for package in found if "skip_reason" in package]
    for package in found:
        for flaw in package.get("vulns", ()):
            fixed = ", ".join(flaw["fix_versions"]) or "no version"
            print(f"{package['name']} {package['version']}: {flaw['id']}, fixed in {fixed}")
    told = "" if not skipped else f"; audit skipped for {len(skipped)} that it does not know here"
    print(f"{len(found) - len(skipped)} packages asked about{told}")
    return int(any(package.get("vulns") for package in found))


def sbom() -> dict[str, Any]:
    """The bill of materials: the same for the same lock."""
    pinned = PINNED.findall(LOCK.read_text("utf-8"))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "name": "model-sizing", "version": __version__}
        },
        "components": [_component(name, version, rest) for name, version, rest in pinned],
    }


def _component(name: str, version: str, rest: str) -> dict[str, Any]:
    identity = f"pkg:pypi/{name}@{version}"
    return {
        "type": "library",
        "bom-ref": identity,
        "name": name,
        "version": version,
        "purl": identity,
        "licenses": [{"license": {"name": licence(name)}}],
        "externalReferences": [
            {
                "type": "distribution",
                "url": identity,
                "hashes": [{"alg": "SHA-256", "content": found} for found in HASH.findall(rest)],
            }
        ],
    }


def licence(name: str) -> str:
    """A package's licence by its own metadata."""
    try:
        known = metadata(name)
    except PackageNotFoundError:
        return "not installed here"
    if known["License-Expression"]:
        return str(known["License-Expression"])
    classifiers = known.get_all("Classifier") or []
    told = [c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License :: ")]
    return ", ".join(told) or str(known["License"] or "not stated").splitlines()[0]


def sources(path: Path) -> Counter[str]:
    """How many facts of a seed file stand under each licence."""
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            return Counter(row["licence"] for row in csv.DictReader(file))
        return Counter(row["provenance"]["licence"] for row in json.load(file))


def document() -> str:
    """docs/licences.md."""
    packages = [(name, licence(name)) for name in locked()]
    facts = [
        (path.stem, str(count), name)
        for path in sorted(SEED.iterdir())
        for name, count in sources(path).most_common()
    ]
    parts = [
        "# Licences",
        "The service itself is under Apache-2.0. `make licences` writes this page: the packages "
        "that a server is installed with, by their own metadata, and the facts that the catalog "
        "ships, by their rows' provenance. Nothing of a source is copied but its facts.",
        "## Packages",
        _table(("package", "licence"), packages),
        "## Facts in the catalog",
        _table(("kind", "rows", "licence"), facts),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    """Run the verb."""
    if sys.argv[1:] == ["audit"]:
        return audit()
    if sys.argv[1:] == ["sbom"]:
        print(json.dumps(sbom(), indent=1))
        return 0
    DOCUMENT.write_text(document(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
