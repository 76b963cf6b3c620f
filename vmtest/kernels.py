"""The kernels of the matrix, and qemu, from Debian's archive."""

import pathlib
import re
import shutil
import subprocess

from packages import NotObtainable, versions

# Debian's kernels for virtual machines, by series: the oldest that is claimed, its stable releases', the newest.
SERIES = {
    "5.10": r"linux-image-5\.10\.0-[0-9]+-cloud-amd64",
    "6.1": r"linux-image-6\.1\.0-[0-9]+-cloud-amd64",
    "6.12": r"linux-image-6\.12\.[0-9]+\+deb1[23]-cloud-amd64",
    "7": r"linux-(image|binary)-[7-9]\.[0-9.]+\+deb[0-9]+-cloud-amd64",
}
ATTEMPTS = 4  # lists name packages that the mirror no longer holds

# Of Debian 12's qemu 7.2 the emulator lets kernels from 6.12 on oops at random.
QEMU_LEAST = 8
QEMU_PACKAGES = ("qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios")
QEMU_SUITE = "bookworm-backports"


class Kernel:
    """An unpacked kernel: its image, its modules, and what it calls itself."""

    def __init__(self, series, folder):
        self.series = series
        self.folder = folder
        self.modules = next(path for top in ("lib", "usr/lib") for path in folder.glob(f"{top}/modules/*"))
        # Beside the modules in packages of 7.2 and later.
        self.image = next(path for pattern in ("boot/vmlinuz-*", f"{self.modules.relative_to(folder)}/vmlinuz")
                          for path in folder.glob(pattern))
        self.release = self.modules.name

    @property
    def package(self):
        return versions(self.folder)[0]


def kernel(archive, cache, series, refresh=False):
    folder = pathlib.Path(cache) / "kernels" / series
    if refresh or not folder.is_dir():
        fetch_newest(archive, series, folder)
    found = Kernel(series, folder)
    # Packages come without depmod's lists, some also without those that it reads.
    if not (found.modules / "modules.dep").is_file():
        for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
            (found.modules / name).touch()
        subprocess.run(["depmod", "-b", found.modules.parents[2], found.release], check=True)
    return found


def fetch_newest(archive, series, folder):
    archive.update()
    names = archive.names(SERIES[series])
    # From 7.2 on the image is a package without files that needs these two.
    plain = [re.sub("^linux-binary-", "linux-image-", name) for name in names]
    refused = None
    for name in list(dict.fromkeys(plain))[:ATTEMPTS]:
        split = name.replace("linux-image-", "linux-binary-")
        modules = name.replace("linux-image-", "linux-modules-")
        parts = (split, modules) if archive.names(re.escape(modules)) else \
            (split,) if split in names else (name,)
        try:
            archive.fetch(parts, folder)
            return
        except NotObtainable as error:
            refused = error
    raise NotObtainable(f"no kernel of series {series}: {refused or 'the lists have none'}")


def qemu(archive, cache, refresh=False):
    """The command line's first words: the system's emulator if it is new enough, else a private one."""
    installed = shutil.which("qemu-system-x86_64")
    if installed and major(installed) >= QEMU_LEAST:
        return [installed]
    folder = pathlib.Path(cache) / "qemu"
    if refresh or not folder.is_dir():
        archive.update()
        archive.fetch([f"{name}/{QEMU_SUITE}" for name in QEMU_PACKAGES], folder)
    share = folder / "usr/share"
    return [str(folder / "usr/bin/qemu-system-x86_64"), "-L", str(share / "qemu"), "-L", str(share / "seabios")]


def major(program):
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)", said)
    return int(found.group(1)) if found else 0
