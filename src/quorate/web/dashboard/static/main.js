// Puts the page together: follows the cluster, and shows the part that the address names behind its "#".

import { Api } from "./api.js";
import { Cluster } from "./cluster.js";
import { h, say, setAttribute } from "./dom.js";
import { now as present } from "./format.js";
import { keysPage } from "./keys.js";
import { modelsPage } from "./models.js";
import { announce } from "./notices.js";
import { eventsPage, overview } from "./overview.js";
import { tasksPage } from "./tasks.js";
import { themeSwitch } from "./theme.js";

const PAGES = {
  overview: ["Overview", overview],
  models: ["Models", modelsPage],
  keys: ["Keys", keysPage],
  tasks: ["Tasks", tasksPage],
  events: ["Events", eventsPage],
};
const LEADERLESS_MS = 1_500; // shorter gaps between leaders are no news

const cluster = new Cluster();
const api = new Api(cluster);
const content = document.getElementById("content");
const tabs = Object.entries(PAGES).map(([id, [name]]) => h("a", { href: `#${id}` }, name));
document.getElementById("tabs").append(...tabs.map((tab) => h("li", null, tab)));
themeSwitch(document.getElementById("theme"));

let page = null;
let isFirst = true;

function route() {
  const [path, query] = location.hash.slice(1).split(/\?(.*)/s);
  const [name, ...rest] = path.split("/").map(decoded);
  const id = Object.hasOwn(PAGES, name) ? name : "overview";
  const [title, make] = PAGES[id];
  tabs.forEach((tab) => setAttribute(tab, "aria-current", tab.hash === `#${id}` ? "page" : null));
  document.title = `${title} · Quorate`;
  page = make(cluster, api, rest, new URLSearchParams(query));
  content.replaceChildren(page.element);
  page.update?.();
  if (!isFirst) {
    const heading = content.querySelector("h1");
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  isFirst = false;
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

let leader = null;
let leaderless = null;

/** Tell of a new leader, and of none, to those who hear the page. */
function listen() {
  const now = cluster.leader?.report.node_id ?? null;
  if (now !== null) {
    if (leader !== null && (now !== leader || leaderless === true)) announce(`Node ${now} leads now.`);
    leader = now;
    leaderless = null;
  } else if (leader !== null && leaderless === null) {
    leaderless = present();
  } else if (typeof leaderless === "number" && present() - leaderless > LEADERLESS_MS) {
    announce("The cluster has no leader.");
    leaderless = true;
  }
}

function showConnection() {
  const all = [...cluster.members.values()];
  const up = cluster.up.length;
  const text = all.every((each) => !each.report) ? "connecting…" : up === all.length ? "live" : up ? `live, from ${up} of ${all.length} nodes` : "reconnecting…";
  const place = document.getElementById("connection");
  say(place, text);
  setAttribute(place, "data-level", up === all.length ? "good" : up ? "warning" : "bad");
  const { best } = cluster;
  if (best) say(document.getElementById("cluster-name"), best.cluster_id === "quorate" ? api.about?.title ?? "" : best.cluster_id);
}

cluster.addEventListener("change", () => {
  listen();
  showConnection();
  page?.update?.();
});
addEventListener("hashchange", route);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  content.focus();
});

async function begin() {
  route();
  while (!api.about) {
    try {
      await api.load();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
  }
  if (!["", "#overview", "#events"].includes(location.hash)) route(); // those need nothing of that
}

begin();
