"""Whether the fireflies that a collector received say what the plan's flows are."""

import json
import re
from collections import defaultdict
from datetime import datetime

import jsonschema

from plan import BOX4, BOX6, COLLECTOR_PORT

MAX_BYTES = 1232  # what fits a 1280-byte path
DATE_TIME = re.compile(  # RFC 3339 and, with at most 6 digits of fraction, RFC 5424
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d{1,6})?(Z|[+-](\d\d):(\d\d))")
HEADER = re.compile(  # RFC 5424: PRI VERSION, then six fields, each behind exactly one space
    r"<(?P<pri>\d{1,3})>1 (?P<time>\S+) (?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48})"
    r" (?P<process>[!-~]{1,128}) (?P<message>[!-~]{1,32}) (?P<data>-|\[.*?\]) (?P<json>\{.*)",
    re.DOTALL)


def instant(text):
    """The time that an RFC 3339 string names; ValueError if it names none."""
    if not DATE_TIME.fullmatch(text):
        raise ValueError(f"'{text}' is no RFC 3339 time")
    return datetime.fromisoformat(text)


def validator(schema_path):
    """Debian's jsonschema checks IP addresses itself; date-time it would let pass unseen."""
    formats = jsonschema.FormatChecker(("ipv4", "ipv6"))

    @formats.checks("date-time", raises=ValueError)
    def _date_time(value):
        return not isinstance(value, str) or bool(instant(value))

    with open(schema_path, encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, format_checker=formats)


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def five_tuple(identity):
    return (identity["protocol"], (identity["src-ip"], identity["src-port"]),
            (identity["dst-ip"], identity["dst-port"]))


def decode(received, schema):
    """(message, fault): the JSON of one datagram, or why it is not a firefly."""
    text = received["text"]
    if len(text.encode()) > MAX_BYTES:
        return None, f"has {len(text.encode())} bytes, more than {MAX_BYTES}"
    header = HEADER.fullmatch(text)
    if not header:
        return None, f"carries no RFC 5424 header: {text[:60]}"
    if int(header["pri"]) > 191:
        return None, f"has priority {header['pri']}, more than 191"
    try:
        instant(header["time"])
    except ValueError as error:
        return None, f"has a header without a time: {error}"
    try:
        message = json.loads(header["json"])
    except ValueError as error:
        return None, f"is not JSON: {error}"
    for error in sorted(schema.iter_errors(message), key=lambda error: list(error.path)):
        where = "/".join(map(str, error.path)) or "the message"
        return None, f"breaks the schema: {where}: {error.message}"
    return message, None


def destination(received):
    return "collector" if received["port"] == COLLECTOR_PORT else "remote end"


def one_flow(flow, by_destination):
    """Faults of one flow's fireflies: {destination: [(received, message), ...]}."""
    for where in ("remote end", "collector"):
        arrived = by_destination.get(where, [])
        times = {}
        for state in ("start", "end"):
            found = [pair for pair in arrived if pair[1]["flow-lifecycle"]["state"] == state]
            if len(found) != 1:
                yield f"{len(found)} {state} fireflies at the {where}, should be 1"
            for received, message in found:
                times[state] = message["flow-lifecycle"]
                context = message["context"]
                tag = (context["experiment-id"], context["activity-id"])
                if tag != flow.tag:
                    yield f"{state} firefly at the {where} says experiment/activity {tag}, should be {flow.tag}"
                # A box between the ends has an address of its own.
                senders = (flow.near[0], BOX6, BOX4)
                if where == "remote end" and (received["from"] not in senders or received["to"] != flow.far[0]):
                    yield f"{state} firefly to the remote end went from {received['from']} to {received['to']}"
        if len(times) == 2:
            began, ended = times["start"]["start-time"], times["end"]["end-time"]
            if instant(began) != instant(times["end"]["start-time"]):
                yield f"start-time at the {where} changes from {began} to {times['end']['start-time']}"
            if not instant(began) < instant(ended):
                yield f"end-time {ended} at the {where} is not after start-time {began}"


def judge(flows, received, schema_path):
    """(messages, faults); messages are (received, message or None) in order of arrival."""
    schema = validator(schema_path)
    announced = {(flow.protocol, *flow.endpoints): flow for flow in flows if flow.tag}
    messages, faults = [], []
    arrived = defaultdict(lambda: defaultdict(list))
    for datagram in received:
        message, fault = decode(datagram, schema)
        messages.append((datagram, message))
        where = f"firefly at the {destination(datagram)}"
        if fault:
            faults.append(f"{where} {fault}")
        elif five_tuple(message["flow-id"]) not in announced:
            faults.append(f"{where} is of a flow that nobody announced so: {message['flow-id']}")
        else:
            flow = announced[five_tuple(message["flow-id"])]
            arrived[flow][destination(datagram)].append((datagram, message))
    for flow in announced.values():
        faults += [f"{flow.name}: {fault}" for fault in one_flow(flow, arrived[flow])]
    return messages, faults
