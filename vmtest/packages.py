"""Debian packages of any release, fetched into a cache without touching the system's apt.

An apt directory of its own knows the releases that hold the kernels. What was fetched stays: later runs need no
network.
"""

import os
import pathlib
import re
import shutil
import subprocess

MIRROR = os.environ.get("VMTEST_MIRROR", "http://deb.debian.org/debian")
SECURITY_MIRROR = os.environ.get("VMTEST_SECURITY_MIRROR", "http://deb.debian.org/debian-security")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SUITES = ("bullseye", "bookworm", "bookworm-backports", "trixie", "trixie-backports", "sid")
SECURITY_SUITES = ("bullseye-security", "bookworm-security", "trixie-security")
NETWORK_TIMEOUT = 300  # seconds for one call of apt


class NotObtainable(Exception):
    """The mirror has no such package, or does not give it away."""


class Archive:
    def __init__(self, cache):
        self.folder = pathlib.Path(cache) / "apt"
        self.packages = pathlib.Path(cache) / "packages"

    def apt(self, command, *arguments, cwd=None):
        options = {
            "Dir::Etc::SourceList": self.folder / "sources.list", "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": self.folder / "lists", "Dir::Cache": self.folder / "cache",
            "APT::Sandbox::User": "root", "Acquire::http::Timeout": 30}
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        done = subprocess.run(
            [command, *words, *arguments], capture_output=True, text=True, timeout=NETWORK_TIMEOUT,
            stdin=subprocess.DEVNULL, cwd=cwd)
        if done.returncode:
            raise NotObtainable(f"{command} {' '.join(arguments)}: {done.stderr.strip() or done.returncode}")
        return done.stdout

    def update(self):
        """Reads the mirror's lists, once for each process that needs them."""
        if getattr(self, "updated", False):
            return
        for name in ("lists/partial", "cache/archives/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        sources = [(MIRROR, suite) for suite in SUITES] + [(SECURITY_MIRROR, suite) for suite in SECURITY_SUITES]
        (self.folder / "sources.list").write_text("".join(
            f"deb [signed-by={KEYRING}] {mirror} {suite} main\n" for mirror, suite in sources))
        self.apt("apt-get", "update", "-q")
        self.updated = True

    def names(self, pattern):
        """Packages whose whole name fits the pattern, the newest version first."""
        lines = self.apt("apt-cache", "search", "--names-only", f"^{pattern}$").splitlines()
        return sorted((line.split()[0] for line in lines), key=version_key, reverse=True)

    def fetch(self, names, folder):
        """Unpacks packages into the folder, whole or not at all; returns their names and versions."""
        debs = [self.download(name) for name in names]
        unfinished = folder.with_name(folder.name + ".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for deb in debs:
            subprocess.run(["dpkg-deb", "-x", deb, unfinished], check=True)
        versions = [
            subprocess.run(["dpkg-deb", "-W", "--showformat=${Package} ${Version}", deb], check=True,
                           capture_output=True, text=True).stdout for deb in debs]
        (unfinished / "VERSIONS").write_text("".join(line + "\n" for line in versions))
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
        for deb in debs:
            deb.unlink()

    def download(self, name):
        landing = self.packages / re.sub(r"\W", "_", name)
        shutil.rmtree(landing, ignore_errors=True)
        landing.mkdir(parents=True)
        self.apt("apt-get", "download", "-q", name, cwd=landing)
        return next(landing.glob("*.deb"))


def version_key(text):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def versions(folder):
    return (folder / "VERSIONS").read_text().split("\n")[:-1]
