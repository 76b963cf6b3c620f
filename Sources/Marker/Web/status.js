"use strict";

// What the API says may come from anybody on the network. It goes into the page by textContent only.
const period = 2000;
const byId = (id) => document.getElementById(id);

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function scaled(value, step, units) {
  let place = 0;
  while (value >= step && place < units.length - 1) {
    value /= step;
    place += 1;
  }
  return (place === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1)) + " " + units[place];
}
const count = (value) => Number(value ?? 0).toLocaleString("en");
const bytes = (value) => (value === null ? "" : scaled(Number(value), 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]));
const rate = (value) => (value ? scaled(value * 8, 1000, ["b/s", "kb/s", "Mb/s", "Gb/s", "Tb/s"]) : "");

function duration(seconds) {
  if (seconds < 60) return seconds.toFixed(seconds < 10 ? 1 : 0) + " s";
  if (seconds < 3600) return Math.floor(seconds / 60) + " min " + Math.floor(seconds % 60) + " s";
  if (seconds < 86400) return Math.floor(seconds / 3600) + " h " + Math.floor((seconds % 3600) / 60) + " min";
  return Math.floor(seconds / 86400) + " d " + Math.floor((seconds % 86400) / 3600) + " h";
}

/** Fills a table's body: each cell is a text, or a text with a class. */
function fill(id, rows, empty) {
  const body = byId(id).tBodies[0];
  const heads = byId(id).tHead.rows[0].cells;
  const made = rows.map((cells) => {
    const row = document.createElement("tr");
    cells.forEach((cell, place) => {
      const [text, name] = Array.isArray(cell) ? cell : [cell, ""];
      row.append(element("td", text, (name + " " + heads[place].className).trim()));
    });
    return row;
  });
  if (made.length === 0) {
    const row = document.createElement("tr");
    const cell = element("td", empty, "soft");
    cell.colSpan = heads.length;
    row.append(cell);
    made.push(row);
  }
  body.replaceChildren(...made);
}

function setHealth(state, text) {
  if (byId("health").textContent === text) return;
  byId("health").dataset.state = state;
  byId("health").textContent = text;
}

let last = null;

/** Bytes of each tag a second, from one look to the next. */
function tagRates(status, now) {
  const before = last;
  // Where no path counts, the sockets do.
  const sum = (tag) => (tag.bytes > 0 ? tag.bytes : tag.socketSent);
  last = { now, tags: new Map(status.tags.map((tag) => [tag.name + tag.family, sum(tag)])) };
  return (tag) => {
    const old = before && before.tags.get(tag.name + tag.family);
    if (old === undefined || old === null) return "";
    return rate(Math.max(0, (sum(tag) - old) / ((now - before.now) / 1000)));
  };
}

function showStatus(status) {
  setHealth(status.health, status.health);
  byId("about").textContent = "version " + status.version + ", strategy " + status.strategy + ", up " + duration(status.uptime);
  byId("reasons").replaceChildren(...status.reasons.map((reason) => element("li", reason)));
  const problems = status.log.warnings + status.log.errors;
  const figures = [
    ["Flows", count(status.flows)], ["Flows started", count(status.events.started)],
    ["Marked packets", count(status.marked.packets + status.scope.packets)],
    ["Marked bytes", bytes(status.marked.bytes + status.scope.bytes)],
    ["Fireflies", count(status.fireflies.start + status.fireflies.ongoing + status.fireflies.end)],
    ["Warnings, errors", count(problems)],
  ];
  byId("figures").replaceChildren(...figures.map(([name, value]) => {
    const pair = document.createElement("div");
    pair.append(element("dt", name), element("dd", value));
    return pair;
  }));
  fill("paths", status.places.map((place) => [
    place.interface || "all", place.family === "ipv6" ? "IPv6" : "IPv4", place.stamp, place.path ?? "none",
    [(place.marks ? "marking" : "not marking") + (place.reason ? " (" + place.reason + ")" : ""), place.marks ? "good" : "warn"],
  ]), status.decision.join(". "));
  const rateOf = tagRates(status, performance.now());
  fill("tags", status.tags.map((tag) => [
    tag.name, tag.family === "ipv6" ? "IPv6" : "IPv4", count(tag.flows), count(tag.started), count(tag.packets),
    bytes(tag.bytes), rateOf(tag),
  ]), "No flow was tagged yet.");
  const state = (destination) => destination.failing ? ["failing: " + (destination.lastError ?? ""), "bad"]
    : destination.errors > 0 ? ["last error: " + (destination.lastError ?? ""), "soft"] : ["working", "good"];
  fill("fireflies", [
    ["remote ends", count(status.fireflies.remoteEnds.sent), count(status.fireflies.remoteEnds.dropped),
      count(status.fireflies.remoteEnds.errors), ""],
    ...status.fireflies.collectors.map((collector) => [
      collector.collector, count(collector.sent), count(collector.dropped), count(collector.errors), state(collector),
    ]),
  ], "");
  const entries = status.log.last.slice().reverse().map((entry) => element(
    "li", entry.time.slice(0, 19).replace("T", " ") + " " + entry.level + ": " + entry.message
      + (entry.count > 1 ? " (" + entry.count + " times)" : ""), entry.level === "warning" ? "warn" : "bad"));
  byId("log").replaceChildren(...(entries.length ? entries : [element("li", "None.", "soft")]));
}

const end = (end) => (end.address.includes(":") ? "[" + end.address + "]" : end.address) + ":" + end.port;

function showFlows(page) {
  byId("shown").textContent = page.flows.length + " of " + count(page.matched) + " flows"
    + (page.matched === page.total ? "" : ", " + count(page.total) + " in all");
  fill("flows", page.flows.map((flow) => [
    flow.name, rate(flow.rate), [flow.protocol + " " + end(flow.source), "end"], [end(flow.destination), "end"], flow.application,
    flow.path ? [flow.path, ""] : ["announced only", "soft"],
    flow.tcp && flow.tcp.rtt ? (flow.tcp.rtt / 1000).toFixed(2) + " ms" : "", bytes(flow.bytes ?? flow.sent), duration(flow.age),
  ]), "No flow fits.");
}

async function ask(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" }, cache: "no-store" });
  return { ok: response.ok, body: await response.json() };
}

async function refresh() {
  try {
    const query = new URLSearchParams({ sort: byId("sort").value, filter: byId("filter").value, limit: "100" });
    const [status, flows] = await Promise.all([ask("/v1/status"), ask("/v1/top?" + query)]);
    if (!status.ok) throw new Error(status.body.error.reason);
    showStatus(status.body);
    byId("filter-problem").textContent = flows.ok ? "" : flows.body.error.reason;
    if (flows.ok) showFlows(flows.body);
  } catch (error) {
    setHealth("lost", "no answer: " + error.message);
  }
}

let timer = 0;

/** Looks now, and again a while after the answer. Nobody looks at a page that is hidden. */
async function look() {
  clearTimeout(timer);
  if (!document.hidden) await refresh();
  clearTimeout(timer);
  timer = setTimeout(look, period);
}

byId("controls").addEventListener("submit", (event) => event.preventDefault());
byId("sort").addEventListener("change", look);
byId("filter").addEventListener("input", look);
document.addEventListener("visibilitychange", look);
look();
