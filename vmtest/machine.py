"""One virtual machine: boot it, watch what it reports, and end it in time."""

import json
import os
import pathlib
import subprocess
import time

MEMORY = 1536  # MiB
PROCESSORS = 2
BOOTS = 3
KVM_TRIAL = 25  # seconds for the same with KVM: a stock kernel is up in three


class GuestFailed(Exception):
    """The guest did not come up, or did not come to its end; it reported this much."""

    def __init__(self, reason, reports):
        super().__init__(reason)
        self.reports = reports


class Machine:
    """Boots guests; finds out once whether KVM boots a stock kernel here (nested ones may not)."""

    def __init__(self, qemu, say):
        self.qemu = qemu
        self.say = say
        self.accelerator = None
        self.why_not_kvm = None

    def choose(self, image, initramfs, disks, work):
        """Tries KVM by booting; the emulator is right but an order slower."""
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            self.why_not_kvm = "there is no /dev/kvm for us"
        else:
            try:
                self.run(image, initramfs, disks, "vmtest=boot", work, "kvm", KVM_TRIAL, KVM_TRIAL)
                self.accelerator = "kvm"
                return
            except GuestFailed as error:
                self.why_not_kvm = f"/dev/kvm does not boot a stock kernel here ({error})"
        self.accelerator = "tcg"

    def words(self, image, initramfs, disks, append, results, accelerator):
        drives = [word for disk in disks for word in
                  ("-drive", f"file={disk},format=raw,if=virtio,readonly=on,cache=unsafe")]
        processor = ("-accel", "kvm", "-cpu", "host") if accelerator == "kvm" else \
            ("-accel", "tcg,thread=multi", "-cpu", "max")
        # The first serial line is the console, the second carries results.
        return [*self.qemu, *processor, "-m", str(MEMORY), "-smp", str(PROCESSORS), "-nodefaults", "-display", "none",
                "-no-reboot", "-serial", "stdio", "-serial", f"file:{results}", *drives, "-kernel", image,
                "-initrd", initramfs, "-append",
                # Starved of processor time a guest takes its timer for broken, and panics: so don't check.
                f"console=ttyS0 no_timer_check quiet loglevel=4 panic=-1 mitigations=off random.trust_cpu=on {append}"]

    def run_again(self, *arguments):
        """As `run`; a guest that did not come up at all is booted anew, for that says nothing about marker."""
        for _ in range(BOOTS - 1):
            try:
                return self.run(*arguments)
            except GuestFailed as error:
                if error.reports:
                    raise
                print(f"  did not come up ({error}); once more", flush=True)
        return self.run(*arguments)

    def run(self, image, initramfs, disks, append, work, accelerator, boot_timeout, timeout):
        """Boots and returns what the guest reported: a list of objects, the last of which is its end."""
        results, console = pathlib.Path(work) / "results.jsonl", pathlib.Path(work) / "console.log"
        results.unlink(missing_ok=True)
        words = [str(word) for word in self.words(image, initramfs, disks, append, results, accelerator)]
        with open(console, "wb") as log:
            guest = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
            try:
                self.watch(guest, results, boot_timeout, timeout)
            finally:
                guest.kill()
                guest.wait()
        reports = read(results)
        if not reports or "end" not in reports[-1]:
            last = console.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing on the console"]
            raise GuestFailed(f"{len(reports)} reports and no end; the console's last line: {last[0][:200]}", reports)
        return reports

    def watch(self, guest, results, boot_timeout, timeout):
        started, told, alive = time.monotonic(), 0, True
        while alive and time.monotonic() - started < timeout:
            alive = guest.poll() is None  # asked before the last look
            reports = read(results)
            if not reports and time.monotonic() - started > boot_timeout:
                return
            for report in reports[told:]:
                self.say(report)
            told = len(reports)
            if reports and "end" in reports[-1]:
                return
            time.sleep(0.2)


def read(results):
    """The whole lines that the guest has written so far."""
    if not results.exists():
        return []
    lines = results.read_bytes().decode(errors="replace").split("\n")[:-1]
    return [json.loads(line) for line in lines if line.startswith("{")]
