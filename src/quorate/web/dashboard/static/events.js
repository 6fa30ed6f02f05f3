// What happened, in words: the reports of all nodes as one story.

import { h } from "./dom.js";
import { ago, clock, moment, seconds } from "./format.js";

const SAME_MS = 3_000; // what several nodes tell of within this time is one thing

const STORY = {
  leader_elected: (event) => ({
    level: "good",
    text: `Node ${event.leader} leads, in term ${event.term}`,
    more: event.seconds ? `elected within ${seconds(event.seconds)}` : null,
    once: `elected ${event.term} ${event.leader}`, // a node that comes back hears of it later
    always: true,
  }),
  leader_lost: (event) => ({ level: "bad", text: `Leader ${event.leader} of term ${event.term} is lost`, once: `lost ${event.term} ${event.leader}` }),
  membership_changed: (event) => ({
    level: "info",
    text: event.joint ? "A change of the members is under way" : `The members are ${Object.entries(event.members).map(([id, role]) => (role === "voter" ? id : `${id} (${role})`)).join(", ")}`,
    once: `members ${event.index}`,
  }),
  log_compacted: (event) => ({ level: "info", text: `Node ${event.node} has cut its log at entry ${event.index}` }),
  snapshot_sent: (event) => ({ level: "info", text: `Node ${event.peer} was brought a snapshot of entry ${event.index}` }),
  snapshot_installed: (event) => ({ level: "info", text: `Node ${event.node} took in a snapshot of entry ${event.index}` }),
  partition_detected: (event, nodes) => ({
    level: "bad",
    text: `${nodesOf(nodes)} ${nodes.length > 1 ? "have" : "has"} lost ${nodesOf(event.lost).toLowerCase()}`,
    more: event.cut_off ? "cut off from the majority" : null,
    once: `lost ${event.lost} ${event.cut_off}`,
  }),
  partition_recovered: (event, nodes) => ({
    level: "good",
    text: `${nodesOf(nodes)} ${nodes.length > 1 ? "reach" : "reaches"} ${nodesOf(event.lost).toLowerCase()} again`,
    more: `after ${seconds(event.seconds)}`,
    once: `reached ${event.lost}`,
  }),
};

function nodesOf(ids) {
  const sorted = [...ids].sort((one, other) => one - other);
  return sorted.length > 1 ? `Nodes ${sorted.slice(0, -1).join(", ")} and ${sorted.at(-1)}` : `Node ${sorted[0]}`;
}

/** The events that are worth telling, latest first, each once. */
export function story(events) {
  const told = [];
  const first = new Map(); // what all nodes tell of, and when it was told first
  for (const event of [...events].reverse()) {
    const known = STORY[event.kind]?.(event, [event.node]);
    if (!known) continue;
    const at = Date.parse(event.time);
    if (known.once) {
      const before = first.get(known.once);
      if (before && (known.always || at - before.at < SAME_MS)) {
        before.nodes.add(event.node);
        before.entry.text = STORY[event.kind](event, [...before.nodes]).text;
        before.entry.more ??= known.more;
        continue;
      }
    }
    const entry = { ...known, id: event.id, time: event.time, node: event.node };
    if (known.once) first.set(known.once, { at, entry, nodes: new Set([event.node]) });
    told.push(entry);
  }
  return told.reverse();
}

/** The list of them; `update` keeps it. */
export function timeline(limit) {
  const element = h("ol", { class: "timeline" });
  let drawn = "";

  function update(events) {
    const told = story(events).slice(0, limit);
    const state = told.map((each) => each.id + each.text + each.more).join();
    if (state !== drawn) {
      drawn = state;
      const empty = [h("li", { class: "quiet" }, "Nothing has happened since the nodes were started.")];
      element.replaceChildren(...(told.length ? told.map(entry) : empty));
    }
    for (const time of element.querySelectorAll("time")) time.textContent = `${clock(time.dateTime)} · ${ago(time.dateTime)}`;
  }
  return { element, update };
}

const entry = (each) => h("li", { class: each.level },
  h("span", { class: "what" }, each.text, each.more && h("span", { class: "quiet" }, ` – ${each.more}`)),
  h("time", { datetime: each.time, title: moment(each.time) }));
