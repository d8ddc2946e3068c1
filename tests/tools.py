"""Tools that a machine may lack: a test without its tool is skipped, or fails where CI wants it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

NPM = Path(__file__).parent / "npm"
WANTED = "REQUIRED_TOOLS"
"""The variable in which `.ci/run` names the tools that it found or installed."""


def lacking(tool: str, why: str) -> NoReturn:
    """Skip for want of a tool; fail where the tool is required."""
    if tool in os.environ.get(WANTED, "").split(","):
        pytest.fail(f"{tool} is required here: {why}")
    pytest.skip(why)


def packages(folder: Path) -> Path:
    """The pinned npm packages and the files beside them, installed into a folder."""
    if not (shutil.which("npm") and shutil.which("node")):
        lacking("npm", "no node with npm: the TypeScript client and accessibility are not tested")
    shutil.copytree(NPM, folder, dirs_exist_ok=True)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        lacking("npm", "npm reaches no registry: it gave up after two minutes")
    if done.returncode:
        lacking("npm", f"npm cannot install: {done.stderr[-300:]}")
    return folder
