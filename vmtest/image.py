"""What a guest boots from: a root file system with marker in it, a disk of modules, and an initramfs that finds both.

The root is cut from this host: the binary was linked against its libraries, so these are the right ones.
"""

import gzip
import lzma
import os
import pathlib
import re
import shutil
import subprocess

TOOLS = ("ip", "tc", "ethtool", "nft", "sysctl", "modprobe", "nsenter", "mount", "umount", "setpriv", "sh", "ps",
         "dmesg", "sleep")
PYTHON = "/usr/bin/python3"  # Debian's: others live anywhere
# Left out of Python's library: what is large and not for scripts.
NOT_FOR_GUESTS = ("test", "tests", "idlelib", "tkinter", "lib2to3", "ensurepip", "distutils", "config-*",
                  "__pycache__", "pydoc_data", "turtledemo")
FOLDERS = ("proc", "sys", "dev", "run", "tmp", "etc", "var/run", "lib/modules", "root", "vmtest", "bin", "sbin",
           "usr/bin", "usr/sbin", "lib64", "lib")
SLACK = 1.3  # of the file system over its files

INITRAMFS_MODULES = ("virtio_pci", "virtio_blk", "overlay")
# Everything else stands on disks; the kernel itself asks for modules, by /sbin/modprobe.
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod /modules/$module; done
for turn in $(seq 100); do [ -b /dev/vdb ] && break; sleep 0.1; done
mkdir /lower /upper /new
mount -o ro /dev/vda /lower
mount -t tmpfs upper /upper
mkdir /upper/upper /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/upper,workdir=/upper/work root /new
mount -o ro /dev/vdb /new/lib/modules
umount /proc
mount --move /dev /new/dev
exec switch_root /new /vmtest/start
"""


def libraries(program):
    """The shared libraries of a program, and its loader."""
    said = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    if missing := re.findall(r"(\S+) => not found", said):
        raise FileNotFoundError(f"{program} needs {', '.join(missing)}")
    return re.findall(r"(/\S+) \(0x", said)


def place(file, root, at=None):
    """One file under the same path, or another, with what it is linked to."""
    target = root / (at or str(file)).lstrip("/")
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(os.path.realpath(file), target)
    for library in libraries(file):
        place(library, root)


def file_system(folder, image):
    """An ext4 image that holds the folder's files, all of root's."""
    used = sum(path.lstat().st_size + 4096 for path in folder.rglob("*"))
    image.unlink(missing_ok=True)
    blocks = int(used * SLACK) // 4096 + 2048
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-b", "4096", "-E", "root_owner=0:0",
         "-d", folder, image, str(blocks)], check=True, stdout=subprocess.DEVNULL)


def make_root(image, marker, own, work):
    """The root: marker, the tools and Python of this host, and the folder `own` as /vmtest."""
    root = pathlib.Path(work) / "root"
    shutil.rmtree(root, ignore_errors=True)
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    place(marker, root, "/usr/bin/marker")
    for tool in TOOLS:
        found = shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if found is None:
            raise FileNotFoundError(f"{tool} is not on this host: scripts/deps vmtest installs it")
        place(found, root, f"/usr/bin/{tool}")
    for name in ("bin/sh", "sbin/modprobe"):
        (root / name).symlink_to(f"/usr/bin/{name.split('/')[1]}")
    place_python(root)
    for file in own:
        shutil.copy2(file, root / "vmtest" / pathlib.Path(file).name)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    file_system(root, image)


def place_python(root):
    place(PYTHON, root)
    library = pathlib.Path(os.path.realpath(PYTHON)).name
    library = pathlib.Path("/usr/lib") / library
    shutil.copytree(
        library, root / str(library)[1:], symlinks=False, ignore_dangling_symlinks=True,
        ignore=shutil.ignore_patterns(*NOT_FOR_GUESTS))
    for extension in library.glob("lib-dynload/*.so"):
        for needed in libraries(extension):
            place(needed, root)


def make_modules(image, kernel, work):
    folder = pathlib.Path(work) / "modules"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    subprocess.run(["cp", "-al", kernel.modules, folder / kernel.release], check=True)
    file_system(folder, image)


def make_initramfs(image, kernel, work):
    root = pathlib.Path(work) / "initramfs"
    shutil.rmtree(root, ignore_errors=True)
    for folder in ("bin", "dev", "proc", "sys", "modules"):
        (root / folder).mkdir(parents=True)
    shutil.copy2(shutil.which("busybox"), root / "bin/busybox")
    names = []
    for module in load_order(kernel):
        name = module.name.removesuffix(".xz").removesuffix(".zst")
        (root / "modules" / name).write_bytes(uncompressed(module))
        names.append(name)
    (root / "modules/order").write_text("\n".join(names) + "\n")
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    files = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    archive = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"], cwd=root, input=files.encode(), stdout=subprocess.PIPE, check=True)
    image.write_bytes(gzip.compress(archive.stdout, 1))


def load_order(kernel):
    """The files of the first modules, each after those that it needs; what has no file is built in."""
    needs = {}
    for line in (kernel.modules / "modules.dep").read_text().splitlines():
        file, _, others = line.partition(":")
        needs[file] = others.split()
    order = []
    for wanted in INITRAMFS_MODULES:
        for file in needs:
            if pathlib.Path(file).name.split(".")[0] == wanted:
                order += [name for name in [*reversed(needs[file]), file] if name not in order]
    return [kernel.modules / name for name in order]


def uncompressed(module):
    if module.suffix == ".xz":
        return lzma.decompress(module.read_bytes())
    if module.suffix == ".zst":
        return subprocess.run(["zstd", "-dcq", module], check=True, stdout=subprocess.PIPE).stdout
    return module.read_bytes()
