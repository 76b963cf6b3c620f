"""Results as a table on the terminal, as JSON, and as the generated part of docs/kernels.md."""

import json
import pathlib

from matrix import PROBE_MUST_SAY, PROBE_SAYS, ROWS, SETTINGS, YES

BEGIN = "<!-- What follows is written by `make vmtest`. -->"
END = "<!-- Here ends what `make vmtest` writes. -->"
ABSENT = "absent"  # the binary has no such command: neither right nor wrong
MISSING = "missing"  # the guest did not come to it; a fault of this run that is not kept
PROBE_GROUPS = ("kernel", "tc", "nft", "sock", "sockets", "AF_XDP", "inline")
REASON = 300  # characters of a reason in a table


def judge(results):
    """What did not come out as expected, one line each."""
    faults = []
    for result in results:
        if result["outcome"] not in (result["expected"], ABSENT):
            faults.append(f"{place(result)}: {result['row']}: {result['outcome']}, should be {result['expected']}:"
                          f" {result.get('detail', '')}")
        faults += [f"{place(result)}: {result['row']}: {fault}" for fault in probe_faults(result, results)]
    return faults


def place(result):
    return f"{result['kernel']}, {result['setting']}"


def verdicts(result):
    return {row["what"]: row["verdict"] for row in result.get("answer", {}).get("tried", ())}


def probe_faults(result, results):
    if "answer" not in result:
        return
    said = verdicts(result)
    for what, verdict in PROBE_MUST_SAY.get(result["row"], {}).items():
        if said.get(what) != verdict:
            yield f"the probe says {said.get(what)} of '{what}', should be {verdict}"
    if result["row"] != "probe":
        return
    for other in results:
        what = PROBE_SAYS.get(other["row"])
        if what and place(other) == place(result) and (said.get(what) == YES) != (other["outcome"] == YES):
            yield f"the probe says {said.get(what)} of '{what}', but row {other['row']} came to {other['outcome']}"


def terminal(results):
    lines = []
    for setting in dict.fromkeys(result["setting"] for result in results):
        there = [result for result in results if result["setting"] == setting]
        kernels = list(dict.fromkeys(result["kernel"] for result in there))
        lines.append(f"\n{setting:52}" + "".join(f"{kernel:>10}" for kernel in kernels))
        for row in dict.fromkeys(result["row"] for result in there):
            cells = [outcome(there, kernel, row) for kernel in kernels]
            lines.append(f"  {ROWS[row].title.replace('`', ''):50}" + "".join(f"{cell:>10}" for cell in cells))
    return "\n".join(lines)


def find(results, kernel, row):
    return next((result for result in results if (result["kernel"], result["row"]) == (kernel, row)), None)


def outcome(results, kernel, row):
    found = find(results, kernel, row)
    return found["outcome"] if found else "–"


def key(result):
    return result["setting"], result["kernel"], result["row"]


def merged(file, results, binary):
    """These results, and those of earlier runs of the same binary for what was not tried again."""
    for result in results:
        result["binary"] = binary
    earlier = json.loads(file.read_text())["results"] if file.is_file() else []
    found = {key(result): result for result in [*earlier, *results]
             if result["binary"] == binary and result["outcome"] != MISSING}
    order = [(setting.name, series, name)
             for setting in SETTINGS for series in setting.kernels for name in setting.rows]
    return [found[place] for place in order if place in found], all(place in found for place in order)


def store(file, results):
    file.write_text(json.dumps({"faults": judge(results), "results": results}, indent=1) + "\n")


# --- docs/kernels.md ------------------------------------------------------------------------------------------


def document(file, results, facts):
    """Rewrites what stands between the two marks."""
    text = pathlib.Path(file).read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{file} lacks the line '{BEGIN}' or '{END}', or has it twice")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    pathlib.Path(file).write_text(
        before + BEGIN + "\n\n" + "\n".join(block(results, facts)) + "\n\n" + END + after)


def block(results, facts):
    yield facts
    yield from table("On packets", [result for result in results if result["setting"] == "plain"])
    yield from reasons([result for result in results if result["setting"] == "plain"])
    yield from probe_table([result for result in results if result["setting"] == "plain"])
    for setting in SETTINGS:
        there = [result for result in results if result["setting"] == setting.name]
        if setting.name != "plain" and there:
            title = setting.title[0].upper() + setting.title[1:]
            yield from table(title, there)
            yield from reasons(there)


def table(title, results):
    kernels = list(dict.fromkeys(result["kernel"] for result in results))
    yield f"\n**{title}**\n"
    yield "| | " + " | ".join(kernels) + " |"
    yield "|---" * (len(kernels) + 1) + "|"
    for row in dict.fromkeys(result["row"] for result in results):
        if row.endswith("probe") or all(outcome(results, kernel, row) == ABSENT for kernel in kernels):
            continue
        yield f"| {ROWS[row].title} | " + " | ".join(outcome(results, kernel, row) for kernel in kernels) + " |"


def reasons(results):
    """Each answer that was not yes, once, with where it was given."""
    answers = {}
    for result in results:
        if result["outcome"] not in (YES, ABSENT):
            answers.setdefault(short(result["detail"]), []).append(result)
    if answers:
        yield ""
    for answer, given in answers.items():
        rows = ", ".join(dict.fromkeys(ROWS[result["row"]].title for result in given))
        kernels = ", ".join(dict.fromkeys(result["kernel"] for result in given))
        yield f"- {rows} ({kernels}): {answer}"


def short(detail):
    """The kernel's answer, without what the daemon says around it each time."""
    detail = detail.removeprefix("Error: ").split("; `--path auto`")[0]
    marker = "which does not work here: "
    return (detail.split(marker, 1)[1] if marker in detail else detail)[:REASON]


def probe_table(results):
    probes = [result for result in results if "answer" in result]
    rows = {(row["group"], row["what"]): None for result in probes for row in result["answer"]["tried"]
            if row["group"] in PROBE_GROUPS}
    yield "\n**As `marker probe` says**\n"
    yield "| | " + " | ".join(result["kernel"] for result in probes) + " |"
    yield "|---" * (len(probes) + 1) + "|"
    for _, what in rows:
        cells = [verdicts(result).get(what, "–") for result in probes]
        yield f"| {what} | " + " | ".join(cells) + " |"
