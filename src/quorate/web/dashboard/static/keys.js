// The key-value store: keys like a pattern, and one with the beginning of its value.

import { field } from "./actions.js";
import { asked, facts, into, pager, rowsOf, search } from "./browse.js";
import { cell, h, whole } from "./dom.js";
import { bytes, count, plural, span } from "./format.js";

const LIMIT = 30;
const expiry = (key) => (key.ttl_seconds === null ? "never" : `in ${span(key.ttl_seconds)}`);

export function keysPage(cluster, api, [id], query) {
  const place = h("div");
  const pattern = asked("like", "Keys like", { value: "*", placeholder: "user:*" });
  const form = id ? null : search("keys", [pattern], query, "Look");
  const show = id ? () => into(place, () => one(api, id, show)) : () => list(api, place, pattern.input.value || "*", [0]);
  const element = h("div", null, h("h1", null, "Keys"), form,
    form && h("p", { class: "quiet" }, "* stands for anything, ? for one character, [ab] for one of these: user:* are all that begin with user:"), place);
  if (!api.about?.keys_are_secret || api.hasToken) show();
  else place.append(tokenForm(api, show));
  return { element };
}

function tokenForm(api, done) {
  const token = field("Admin token", { type: "password" });
  const form = h("form", { class: "row" }, token.element, h("button", { type: "submit", class: "small" }, "Show the keys"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    api.setToken(token.input.value);
    done();
  });
  return h("div", null, h("p", null, "The keys have a password; here the admin token stands for it."), form);
}

/** The answer to a request for keys; a token that is not the right one is asked for again. */
async function answer(api, path, again) {
  try {
    return { found: await api.get(path, { own: true }) };
  } catch (error) {
    if (error.status !== 401) throw error;
    api.setToken(null);
    return { refusal: [h("p", { class: "problem", role: "alert" }, error.message), tokenForm(api, again)] };
  }
}

function list(api, place, pattern, pages) {
  into(place, async () => {
    const path = `/dashboard/keys?limit=${LIMIT}&match=${encodeURIComponent(pattern)}&after=${pages.at(-1)}`;
    const { found: page, refusal } = await answer(api, path, () => list(api, place, pattern, pages));
    if (refusal) return refusal;
    const rows = page.keys.map((key) => h("tr", null,
      h("th", null, h("a", { href: `#keys/${key.id}` }, cell(key.key || "(the empty key)"))),
      h("td", null, key.type), h("td", { class: "number" }, count(key.size)), h("td", { class: "number" }, bytes(key.bytes)),
      h("td", null, expiry(key)), h("td", { class: "number" }, count(key.revision))));
    const columns = ["Key", "Type", { text: "Length", number: true }, { text: "Memory", number: true }, "Expires", { text: "Revision", number: true }];
    const none = page.next ? "None among those looked at so far: go on." : page.count ? "No key is like that." : "There are no keys yet.";
    return h("section", { class: "panel" },
      h("div", { class: "head" }, h("h2", null, pattern === "*" ? "All keys" : "Keys like ", pattern !== "*" && h("bdi", null, pattern)),
        h("span", { class: "quiet" }, `${plural(page.count, "key")} in all, about ${bytes(page.memory_bytes)}`)),
      rowsOf("Keys", columns, rows, none, "compact"),
      pager(pages, page.next, (other) => list(api, place, pattern, other)));
  });
}

async function one(api, id, again) {
  const { found: key, refusal } = await answer(api, `/dashboard/keys/one?id=${encodeURIComponent(id)}`, again);
  return [h("p", null, h("a", { href: "#keys" }, "‹ All keys")), ...(refusal ?? shown(key))];
}

function shown(key) {
  const rows = key.rows.map((row) => h("tr", null, row.map((each) => h("td", null, whole(each)))));
  return [
    h("section", { class: "panel" }, h("h2", null, whole(key.key || "(the empty key)")),
      facts([["Type", key.type], ["Length", count(key.size)], ["Memory", bytes(key.bytes)], ["Expires", expiry(key)], ["Revision of its last change", count(key.revision)]])),
    h("section", { class: "panel" }, h("h2", null, "Value"), rowsOf("Value", key.columns, rows, "It is empty."),
      key.more > 0 && h("p", { class: "quiet" }, `… and ${count(key.more)} more.`)),
  ];
}
