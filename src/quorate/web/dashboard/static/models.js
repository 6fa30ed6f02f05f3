// The models: their objects a page at a time, and one object with its history.

import { facts, into, pager, rowsOf } from "./browse.js";
import { h } from "./dom.js";
import { count, inline, moment, plural } from "./format.js";

const LIMIT = 20;
const link = (model, id) => `#models/${model.resource}/${encodeURIComponent(id)}`;

export function modelsPage(cluster, api, [resource, id]) {
  const models = api.about?.models ?? [];
  const model = models.find((each) => each.resource === resource) ?? models[0];
  const place = h("div");
  const element = h("div", null, h("h1", null, "Models"));
  if (!model) {
    element.append(h("p", { class: "quiet" }, "This cluster serves no models: its nodes were started without --app."));
    return { element };
  }
  const items = models.map((each) => h("li", null, h("a", { href: `#models/${each.resource}`, "aria-current": each === model ? "page" : null }, each.name)));
  element.append(h("nav", { class: "chips", "aria-label": "Models" }, h("ul", null, items)), place);
  if (id) into(place, () => one(api, model, id));
  else list(api, place, model, [""]);
  return { element };
}

function list(api, place, model, pages) {
  into(place, async () => {
    const cursor = pages.at(-1);
    const query = `limit=${LIMIT}&consistency=eventually${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`;
    const { document, headers } = await api.get(`${api.about.prefix}/${model.resource}?${query}`, { whole: true });
    const next = /[?&]cursor=([^&>]+)[^>]*>; rel="next"/.exec(headers.get("link") ?? "")?.[1];
    const total = headers.get("x-total-count");
    const rows = document.map((object) => h("tr", null, model.fields.map((name) =>
      name === model.key ? h("th", { scope: "row" }, h("a", { href: link(model, object[name]) }, inline(object[name]))) : h("td", null, h("span", { class: "cut" }, inline(object[name]))))));
    return h("section", { class: "panel" },
      h("div", { class: "head" }, h("h2", null, model.name), h("span", { class: "quiet" }, total ? plural(Number(total), "object") : "")),
      rowsOf(`Objects of ${model.name}`, model.fields, rows, "There are no objects yet."),
      pager(pages, next && decodeURIComponent(next), (other) => list(api, place, model, other)));
  });
}

async function one(api, model, id) {
  const path = `${api.about.prefix}/${model.resource}/${encodeURIComponent(id)}`;
  const [object, entries] = await Promise.all([
    api.get(`${path}?consistency=eventually`).catch((error) => (error.status === 404 ? null : Promise.reject(error))),
    model.history ? history(api, path) : null,
  ]);
  const pairs = object ? model.fields.map((name) => [name, inline(object[name])]) : [];
  return h("div", null,
    h("p", null, h("a", { href: `#models/${model.resource}` }, `‹ All of ${model.name}`)),
    h("section", { class: "panel" }, h("h2", null, `${model.name} `, h("span", { class: "address" }, id)),
      object ? facts(pairs) : h("p", { class: "problem" }, "There is no such object now.")),
    h("section", { class: "panel" }, h("h2", null, "History"), entries ?? h("p", { class: "quiet" }, "No field of this model keeps its history (track_history).")));
}

async function history(api, path) {
  const { document, headers } = await api.get(`${path}/history?consistency=eventually`, { whole: true }).catch((error) => {
    if (error.status === 404) return { document: [], headers: new Headers() };
    throw error;
  });
  const rows = document.toReversed().map((entry) => h("tr", null,
    h("th", { scope: "row" }, moment(entry.timestamp)), h("td", null, entry.event_type),
    h("td", null, h("ul", { class: "changes" }, Object.entries(entry.changes).map(([name, change]) => h("li", null,
      h("strong", null, name), " ", h("del", null, inline(change.old)), " → ", h("ins", null, inline(change.new)))))),
    h("td", null, inline(entry.actor)), h("td", { class: "number" }, count(entry.index))));
  const more = headers.get("link") ? h("p", { class: "quiet" }, "There is more of it: ask for it over HTTP.") : null;
  return [rowsOf("History", ["When", "What", "Changes", "By", { text: "Entry", number: true }], rows, "Nothing has changed since its history is kept."), more];
}
