// The key-value store: keys like a pattern, and one with the beginning of its value.

import { field } from "./actions.js";
import { facts, into, pager, rowsOf } from "./browse.js";
import { h } from "./dom.js";
import { bytes, count, plural, span } from "./format.js";

const LIMIT = 30;
const expiry = (key) => (key.ttl_seconds === null ? "never" : `in ${span(key.ttl_seconds)}`);

export function keysPage(cluster, api, [id]) {
  const place = h("div");
  const element = h("div", null, h("h1", null, "Keys"));
  if (api.about?.keys_are_secret && !api.hasToken) {
    element.append(tokenForm(api, () => start()));
  }
  element.append(place);
  function start() {
    if (id) into(place, () => one(api, id));
    else search(api, place);
  }
  start();
  return { element };
}

function tokenForm(api, done) {
  const token = field("Admin token", { type: "password" }, "The keys have a password; here the admin token stands for it.");
  const form = h("form", { class: "row" }, token.element, h("button", { type: "submit", class: "small" }, "Show the keys"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    api.setToken(token.input.value);
    form.remove();
    done();
  });
  return form;
}

function search(api, place) {
  const pattern = field("Keys like", { type: "search", value: "*", placeholder: "user:*" }, "* and ? stand for anything, as in Redis.");
  const results = h("div");
  const form = h("form", { class: "row", role: "search" }, pattern.element, h("button", { type: "submit", class: "small" }, "Look"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    list(api, results, pattern.input.value || "*", [0]);
  });
  place.replaceChildren(form, results);
  list(api, results, "*", [0]);
}

function list(api, place, pattern, pages) {
  into(place, async () => {
    const page = await api.get(`/dashboard/keys?limit=${LIMIT}&match=${encodeURIComponent(pattern)}&after=${pages.at(-1)}`, { own: true });
    const rows = page.keys.map((key) => h("tr", null,
      h("th", { scope: "row" }, h("a", { href: `#keys/${key.id}` }, h("span", { class: "cut" }, key.key || "(the empty key)"))),
      h("td", null, key.type), h("td", { class: "number" }, count(key.size)), h("td", { class: "number" }, bytes(key.bytes)),
      h("td", null, expiry(key)), h("td", { class: "number" }, count(key.revision))));
    const columns = ["Key", "Type", { text: "Length", number: true }, { text: "Memory", number: true }, "Expires", { text: "Revision", number: true }];
    return h("section", { class: "panel" },
      h("div", { class: "head" }, h("h2", null, "Keys"), h("span", { class: "quiet" }, `${plural(page.count, "key")} in all, about ${bytes(page.memory_bytes)}`)),
      rowsOf("Keys", columns, rows, page.next ? "None among those looked at so far: go on." : "There are no such keys."),
      pager(pages, page.next, (other) => list(api, place, pattern, other)));
  });
}

async function one(api, id) {
  const key = await api.get(`/dashboard/keys/one?id=${encodeURIComponent(id)}`, { own: true });
  const rows = key.rows.map((row) => h("tr", null, row.map((cell) => h("td", null, h("span", { class: "value" }, cell)))));
  return h("div", null,
    h("p", null, h("a", { href: "#keys" }, "‹ All keys")),
    h("section", { class: "panel" }, h("h2", null, h("span", { class: "value" }, key.key)),
      facts([["Type", key.type], ["Length", count(key.size)], ["Memory", bytes(key.bytes)], ["Expires", expiry(key)], ["Revision of its last change", count(key.revision)]])),
    h("section", { class: "panel" }, h("h2", null, "Value"), rowsOf("Value", key.columns, rows, "It is empty."),
      key.more > 0 && h("p", { class: "quiet" }, `… and ${count(key.more)} more.`)));
}
