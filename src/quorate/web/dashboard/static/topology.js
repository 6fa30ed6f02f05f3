// The cluster as a picture: its nodes on a circle, and lines along which the leader replicates.

import { s, setAttribute } from "./dom.js";

const SIZE = 220;
const RADIUS = 72;
const LABELLED_MAX = 4; // in a larger circle the labels of all would lie on each other

export function topology() {
  const links = s("g");
  const nodes = s("g");
  const element = s("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img", class: "topology" }, links, nodes);
  let drawn = "";

  function update(cluster) {
    const all = cluster.nodes;
    const leader = cluster.leader?.report.node_id ?? null;
    const state = all.map((each) => [each.id, each.state, each.member.role, each.lag > 1000, each.id === leader]);
    if (JSON.stringify(state) === drawn) return;
    drawn = JSON.stringify(state);
    const place = new Map(all.map((each, at) => {
      const angle = (2 * Math.PI * at) / all.length - Math.PI / 2;
      const radius = all.length === 1 ? 0 : RADIUS;
      return [each.id, { x: SIZE / 2 + radius * Math.cos(angle), y: SIZE / 2 + radius * Math.sin(angle) }];
    }));
    const isCrowded = all.length > LABELLED_MAX;
    const from = place.get(leader);
    links.replaceChildren(...all.filter((each) => from && each.id !== leader).map((each) => {
      const to = place.get(each.id);
      return s("line", { x1: from.x, y1: from.y, x2: to.x, y2: to.y, class: `link ${each.state}` });
    }));
    nodes.replaceChildren(...all.map((each) => {
      const { x, y } = place.get(each.id);
      const isLeader = each.id === leader;
      return s("g", { transform: `translate(${x} ${y})`, class: `node ${each.state} ${isLeader ? "leads" : ""} ${each.member.role}` },
        s("circle", { r: (isLeader ? 27 : 22) - (isCrowded ? 4 : 0) }),
        s("text", { y: 6 }, String(each.id)),
        (!isCrowded || isLeader) && s("text", { class: "role", y: isLeader ? 43 : 38 }, each.state === "down" ? "not reached" : isLeader ? "leader" : each.member.role === "voter" ? "follower" : each.member.role));
    }));
    const told = all.map((each) => `node ${each.id} ${each.state === "down" ? "is not reached" : each.id === leader ? "leads" : "follows"}`);
    setAttribute(element, "aria-label", `The cluster: ${told.join(", ")}`);
  }
  return { element, update };
}
