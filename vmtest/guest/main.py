"""Runs the rows that the kernel's command line names, and reports each on the second serial line.

vmtest=row,row,…, or vmtest=boot for none.
"""

import json
import os
import re
import sys
import time
import traceback
import tty

sys.path.insert(0, "/vmtest")


class Reports:
    def __init__(self):
        self.line = open("/dev/ttyS1", "wb", buffering=0)
        tty.setraw(self.line.fileno())

    def send(self, **report):
        self.line.write(json.dumps(report).encode() + b"\n")


def outcome(row):
    from lab import Absent, Refused, Wrong
    try:
        return "yes", row()
    except Refused as refusal:
        return "refused", str(refusal)
    except Absent as absence:
        return "absent", str(absence)
    except Wrong as wrong:
        return "no", str(wrong)
    except Exception as error:  # a row that ends otherwise is reported; the rows behind it are run
        return "no", f"{type(error).__name__}: {error} ({traceback.format_exc().strip().splitlines()[-3].strip()})"


def settle():
    """Whatever a row left: the next one begins with nothing."""
    from lab import run
    for line in run("ps", "-e", "-o", "pid=,comm=").stdout.splitlines():
        if line.split()[1] == "marker":
            os.kill(int(line.split()[0]), 9)
    for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else ():
        run("ip", "netns", "delete", name, check=False)


def main():
    reports = Reports()
    with open("/proc/uptime", encoding="ascii") as file:
        reports.send(kernel=os.uname().release, uptime=float(file.read().split()[0]))
    with open("/proc/cmdline", encoding="ascii") as file:
        wanted = re.search(r"vmtest=(\S+)", file.read()).group(1)
    if wanted != "boot":
        try_rows(wanted.split(","), reports)
    reports.send(end=True)


def try_rows(names, reports):
    from rows import ROWS
    for name in names:
        started = time.monotonic()
        said, found = outcome(ROWS[name])
        settle()
        more = {"answer": found} if isinstance(found, dict) else {"detail": found}
        reports.send(row=name, outcome=said, seconds=round(time.monotonic() - started, 1), **more)


main()
