// The first page: what a newcomer wants to know, then the four panels, the nodes and what happened.

import { leaderStrip, lineChart } from "./charts.js";
import { ACTIONS, arrange, button, h, labelled, say, setAttribute, table } from "./dom.js";
import { timeline } from "./events.js";
import { NONE, ago, bytes, count, known, percent, rate, seconds, span } from "./format.js";
import { addMember, manage } from "./actions.js";
import { topology } from "./topology.js";

const EVENTS_SHOWN = 8;

/** A list of figures: names and values that `update` sets. */
function figures(names) {
  const values = names.map(() => h("dd", null, NONE));
  const element = h("dl", { class: "figures" }, names.map((name, at) => h("div", null, h("dt", null, name), values[at])));
  return { element, update: (...texts) => texts.forEach((text, at) => say(values[at], text)) };
}

const panel = (id, title, ...content) =>
  h("section", { class: "panel", "aria-labelledby": id }, h("h2", { id }, title), content);

function healthPanel(cluster) {
  const shown = figures(["Nodes up", "Leader", "Last election"]);
  const chart = lineChart({ label: "Nodes up", lines: [{ name: "up", pick: (each) => each.up }], format: count, steps: true });
  const element = panel("health", "Cluster health", shown.element, chart.element);
  function update() {
    const { nodes, leader } = cluster;
    const up = nodes.filter((each) => each.state === "up").length;
    const elected = leader?.report.elections.elected_at ?? cluster.best?.elections.elected_at;
    shown.update(`${up} / ${nodes.length}`, leader || cluster.hearsay ? `Node ${leader?.report.node_id ?? cluster.hearsay}` : "none", elected ? ago(elected, 1) : NONE);
    chart.update(cluster.samples, nodes.length);
  }
  return { element, update };
}

function electionPanel(cluster) {
  const shown = figures(["Elections", "Mean duration", "Success rate"]);
  const strip = leaderStrip();
  const note = h("p", { class: "note" });
  const element = panel("elections", "Leader election", shown.element, strip.element, note);
  function update() {
    const known = cluster.up.map((each) => each.report.elections);
    const sum = (pick) => known.reduce((total, each) => total + pick(each), 0);
    const measured = sum((each) => each.count);
    const stood = sum((each) => each.stood);
    shown.update(
      count(Math.max(0, ...known.map((each) => each.leaders))),
      measured ? seconds(sum((each) => each.seconds_sum) / measured) : NONE,
      stood ? percent(Math.min(1, sum((each) => each.won) / stood)) : NONE,
    );
    strip.update(cluster.samples);
    say(note, `Term ${count(cluster.term)}, as the nodes that are up have seen it since they were started. A duration is the time without a leader.`);
  }
  return { element, update };
}

function replicationPanel(cluster) {
  const shown = figures(["Commit latency", "Replication lag", "Log size"]);
  const chart = lineChart({
    label: "Commit latency",
    lines: [{ name: "p99", pick: (each) => each.commit?.p99 }, { name: "p50", pick: (each) => each.commit?.p50 }],
    format: seconds,
  });
  const note = h("p", { class: "note" });
  const element = panel("replication", "Log replication", shown.element, chart.element, note);
  function update() {
    const report = cluster.leader?.report;
    const commit = cluster.samples.findLast((each) => each.commit)?.commit;
    const lags = report ? Object.values(report.lag_seconds) : [];
    const lag = lags.length ? Math.max(...lags) : null;
    shown.update(commit ? seconds(commit.p50) : NONE, lag === 0 ? "0 s" : seconds(lag), bytes(report?.log_bytes));
    chart.update(cluster.samples);
    const idle = commit ? "" : "Nothing was written since this page was opened. ";
    say(note, report ? `${idle}Entry ${count(report.commit_index)} is committed; the log begins with ${count(report.log_first_index)}.` : "");
  }
  return { element, update };
}

function performancePanel(cluster) {
  const shown = figures(["Throughput", "CPU", "Memory"]);
  const chart = lineChart({ label: "Writes applied a second", lines: [{ name: "writes", pick: (each) => each.applied }], format: rate, top: 10 });
  const note = h("p", { class: "note" });
  const element = panel("performance", "Performance", shown.element, chart.element, note);
  function update() {
    const { leader } = cluster;
    const samples = cluster.up.map((each) => each.samples.at(-1)).filter(Boolean);
    const total = (pick) => (samples.some((each) => known(pick(each))) ? samples.reduce((sum, each) => sum + (pick(each) ?? 0), 0) : null);
    const applied = leader?.samples.at(-1)?.applied;
    const memory = total((each) => each.memory);
    shown.update(known(applied) ? `${rate(applied)}/s` : NONE, percent(total((each) => each.cpu)), bytes(memory));
    chart.update(cluster.samples);
    const proposals = leader?.report.latency.proposal;
    const fsyncs = leader?.samples.at(-1)?.fsyncs;
    const parts = ["CPU and memory are those of all nodes together"];
    if (known(fsyncs)) parts.push(`the leader syncs its log ${rate(fsyncs)} times a second`);
    if (proposals) parts.push(`its clients wait ${seconds(proposals.p99)} at p99`);
    say(note, `${parts.join("; ")}.`);
  }
  return { element, update };
}

const COLUMNS = ["Node", "Role", "State", { text: "Lag (entries)", number: true }, { text: "Applied", number: true }, { text: "CPU", number: true },
  { text: "Memory", number: true }, { text: "Disk free", number: true }, "Version", "Uptime", ACTIONS];

function stateOf(node, cluster) {
  if (node.state === "down") return ["bad", "not reached"];
  const { member, report } = node;
  if (report?.failure) return ["bad", "failed"];
  if (member.leaving) return ["warning", "leaving"];
  if (report?.repairing) return ["warning", "repairing"];
  if (member.snapshot) return ["warning", "receives a snapshot"];
  if (member.promote) return ["warning", "catches up, then votes"];
  if (node.lag > 1000) return ["warning", "behind"];
  if (report && report.role === "joining") return ["warning", "joining"];
  if (report?.faults && Object.values(report.faults).some((each) => (Array.isArray(each) ? each.length : each))) return ["warning", "faults injected"];
  return cluster.leader || report?.role === "leader" ? ["good", node.isUp ? "up" : "up, as the leader says"] : ["warning", "without a leader"];
}

function nodesTable(cluster, api) {
  const rows = new Map();
  const body = h("tbody");
  const element = table("State of each node", COLUMNS, body, "compact");

  function row(node) {
    const name = h("th");
    const state = h("span", { class: "state" });
    const cells = COLUMNS.slice(1, -1).map((column, at) => h("td", { class: column.number ? "number" : null }, at === 1 ? state : null));
    const action = button("Manage…", () => manage(cluster, api, node.id), { class: "small", "aria-label": `Manage node ${node.id}` });
    name.append(h("span", null, `Node ${node.id}`), h("span", { class: "address" }, node.address));
    return { element: labelled(h("tr", null, name, cells, h("td", { class: "end" }, action)), COLUMNS), cells, state };
  }

  function update() {
    const nodes = cluster.nodes;
    for (const node of nodes) {
      if (!rows.has(node.id)) rows.set(node.id, row(node));
      const { element: tr, cells, state } = rows.get(node.id);
      const { report, stream } = node;
      const last = node.isUp ? stream.samples.at(-1) : null;
      const [level, told] = stateOf(node, cluster);
      const isLeader = cluster.leader?.report.node_id === node.id;
      const role = isLeader ? "leader" : node.member.role === "voter" || !node.member.role ? "follower" : node.member.role;
      setAttribute(tr, "class", `${isLeader ? "leads" : ""} ${node.state}`);
      setAttribute(state, "data-level", level);
      say(state, told);
      say(cells[0], node.state === "down" ? NONE : role);
      say(cells[2], node.state === "down" ? NONE : isLeader ? "–" : known(node.lag) ? count(node.lag) : NONE);
      say(cells[3], node.isUp ? count(report.applied_index) : NONE);
      say(cells[4], percent(last?.cpu));
      say(cells[5], node.isUp ? bytes(report.process?.resident_bytes) : NONE);
      say(cells[6], node.isUp ? bytes(report.disk?.free_bytes) : NONE);
      say(cells[7], report ? report.version : NONE);
      say(cells[8], node.isUp ? span(report.uptime_seconds) : NONE);
    }
    const ids = new Set(nodes.map((each) => each.id));
    const gone = [...rows].filter(([id]) => !ids.has(id));
    const hadFocus = gone.some(([, each]) => each.element.contains(document.activeElement));
    gone.forEach(([id]) => rows.delete(id));
    arrange(body, nodes.map((each) => rows.get(each.id).element));
    if (hadFocus) body.querySelector("button")?.focus();
  }
  return { element, update };
}

/** What is good to know about the number of nodes. */
function advice({ voters: { length }, majority }) {
  if (!length) return "";
  if (length === 1) return "A write is done once it is on this node's disk. With three nodes any one could fail.";
  if (length % 2 === 0) return `${length} voters survive no more failures than ${length - 1} do: an odd number is better.`;
  return `A write is done once ${majority} of ${length} voters have it on disk.`;
}

export function overview(cluster, api) {
  const sentence = h("p", { class: "sentence" });
  const hint = h("p", { class: "quiet" });
  const picture = topology();
  const hero = h("section", { class: "hero", "aria-labelledby": "hero-title" },
    h("div", { class: "words" }, h("h1", { id: "hero-title" }, "Cluster"), sentence, hint), picture.element);
  const panels = [healthPanel, electionPanel, replicationPanel, performancePanel].map((make) => make(cluster));
  const nodes = nodesTable(cluster, api);
  const happened = timeline(EVENTS_SHOWN);
  const element = h("div", null, hero,
    h("div", { class: "panels" }, panels.map((each) => each.element)),
    h("section", { class: "panel", "aria-labelledby": "nodes" },
      h("div", { class: "head" }, h("h2", { id: "nodes" }, "Nodes"), button("Add a member…", () => addMember(cluster, api), { class: "small" })),
      nodes.element),
    h("section", { class: "panel", "aria-labelledby": "happened" },
      h("div", { class: "head" }, h("h2", { id: "happened" }, "What happened"), h("a", { href: "#events" }, "All events")), happened.element));

  function update() {
    const { level, text } = cluster.health;
    setAttribute(hero, "data-level", level);
    say(sentence, text);
    say(hint, advice(cluster));
    picture.update(cluster);
    panels.forEach((each) => each.update());
    nodes.update();
    happened.update(cluster.events);
  }
  return { element, update };
}

export function eventsPage(cluster) {
  const list = timeline(Infinity);
  const element = h("section", { class: "panel", "aria-labelledby": "events-title" }, h("h1", { id: "events-title" }, "Events"),
    h("p", { class: "quiet" }, "Elections, partitions, changes of the members, snapshots: as the nodes that are up remember them since they were started."), list.element);
  return { element, update: () => list.update(cluster.events) };
}
