// The models: their objects a page at a time, those that fit a condition, and one object with its history.

import { asked, facts, into, pager, rowsOf, search } from "./browse.js";
import { cell, h, whole } from "./dom.js";
import { field } from "./actions.js";
import { count, inline, moment, plural } from "./format.js";

const LIMIT = 20;
const HISTORY_LIMIT = 25;
const WALK_LIMIT = 1_000;
const WALKS_MAX = 8;
const WORDS = { eq: "is", ne: "is not", gt: ">", gte: "≥", lt: "<", lte: "≤", in: "is one of", contains: "contains", startswith: "begins with", endswith: "ends with", isnull: "is null" };
const PLACEHOLDERS = { in: "a,b,c", isnull: "true or false" };

const link = (model, id) => `#models/${encodeURIComponent(model.resource)}/${encodeURIComponent(id)}`;

export function modelsPage(cluster, api, [resource, id], query) {
  const models = api.about?.models ?? [];
  const model = resource ? models.find((each) => each.resource === resource) : models[0];
  const place = h("div");
  const element = h("div", null, h("h1", null, "Models"));
  if (!models.length) {
    if (api.about) element.append(h("p", { class: "quiet" }, "This cluster serves no models: its nodes were started without --app."));
    return { element };
  }
  const items = models.map((each) => h("li", null, h("a", { href: `#models/${each.resource}`, "aria-current": each === model ? "page" : null }, each.name)));
  element.append(h("nav", { class: "chips", "aria-label": "Models" }, h("ul", null, items)));
  if (!model) {
    element.append(h("p", { class: "problem" }, "There is no such model here."));
    return { element };
  }
  if (!id) element.append(conditions(model, query));
  element.append(place);
  if (id) into(place, () => one(api, model, id));
  else list(api, place, model, query, [""]);
  return { element };
}

/** A field with choices: [value, words]. */
function choice(name, label, options) {
  const { input, element } = field(label, {});
  const select = h("select", { id: input.id });
  input.replaceWith(select);
  const offer = (pairs) => select.replaceChildren(...pairs.map(([value, words]) => h("option", { value }, words)));
  offer(options);
  return { name, input: select, element, offer };
}

/** The form that asks for objects of which one field is like something. */
function conditions(model, query) {
  const names = choice("field", "Field", Object.keys(model.operators).map((each) => [each, each]));
  const operators = choice("is", "Condition", []);
  const value = asked("value", "Value");
  const offer = () => {
    const chosen = operators.input.value;
    operators.offer(model.operators[names.input.value].map((each) => [each, WORDS[each] ?? each]));
    operators.input.value = chosen;
    if (operators.input.selectedIndex < 0) operators.input.selectedIndex = 0;
    hint();
  };
  const hint = () => { value.input.placeholder = PLACEHOLDERS[operators.input.value] ?? ""; };
  names.input.value = Object.hasOwn(model.operators, query.get("field") ?? "") ? query.get("field") : preferred(model);
  offer();
  names.input.addEventListener("change", offer);
  operators.input.addEventListener("change", hint);
  const form = search(`models/${model.resource}`, [names, operators, value], query, "Find");
  if (query.has("value")) form.append(h("a", { href: `#models/${model.resource}` }, "Show all"));
  return form;
}

/** The field that is most likely meant: the first with text. */
const preferred = (model) => Object.keys(model.operators).find((each) => model.operators[each].includes("contains")) ?? model.key;

function list(api, place, model, query, pages) {
  into(place, async () => {
    const cursor = pages.at(-1);
    const wanted = new URLSearchParams({ limit: LIMIT, consistency: "eventually" });
    if (cursor) wanted.set("cursor", cursor);
    if (query.has("value")) wanted.set(`${query.get("field")}__${query.get("is")}`.replace(/__eq$/, ""), query.get("value"));
    const { document, headers } = await api.get(`${api.about.prefix}/${model.resource}?${wanted}`, { whole: true });
    const next = /[?&]cursor=([^&>]+)[^>]*>; rel="next"/.exec(headers.get("link") ?? "")?.[1];
    const total = headers.get("x-total-count");
    const rows = document.map((object) => h("tr", null, model.fields.map((name) =>
      name === model.key ? h("th", null, h("a", { href: link(model, inline(object[name])) }, cell(inline(object[name])))) : h("td", null, cell(inline(object[name]))))));
    return h("section", { class: "panel" },
      h("div", { class: "head" }, h("h2", null, model.name), h("span", { class: "quiet" }, total ? plural(Number(total), "object") : "")),
      rowsOf(`Objects of ${model.name}`, model.fields, rows, query.has("value") ? "No object is like that." : "There are no objects yet."),
      pager(pages, next && decodeURIComponent(next), (other) => list(api, place, model, query, other)));
  });
}

async function one(api, model, id) {
  const path = `${api.about.prefix}/${model.resource}/${encodeURIComponent(id)}`;
  const past = h("div");
  const [object, starts] = await Promise.all([
    api.get(`${path}?consistency=eventually`).catch((error) => (error.status === 404 ? null : Promise.reject(error))),
    model.history ? walk(api, path) : null,
  ]);
  if (starts) entries(api, past, path, starts);
  else past.append(h("p", { class: "quiet" }, "No field of this model keeps its history (track_history)."));
  const pairs = object ? model.fields.map((name) => [name, inline(object[name])]) : [];
  return h("div", null,
    h("p", null, h("a", { href: `#models/${model.resource}` }, `‹ All of ${model.name}`)),
    h("section", { class: "panel" }, h("h2", null, `${model.name} `, h("bdi", { class: "address" }, id)),
      object ? facts(pairs) : h("p", { class: "problem" }, "There is no such object now.")),
    h("section", { class: "panel" }, h("h2", null, "History"), past));
}

/** The nodes tell a history from its beginning: behind which entries its pages begin, the last of which is shown first. */
async function walk(api, path) {
  const starts = [0];
  for (let walked = 0; walked < WALKS_MAX; walked += 1) {
    const { document, headers } = await page(api, path, starts.at(-1), WALK_LIMIT);
    for (let at = HISTORY_LIMIT; at < document.length; at += HISTORY_LIMIT) starts.push(document[at - 1].sequence_number);
    if (!headers.get("link")) break;
    if (document.length % HISTORY_LIMIT === 0 || document.length < HISTORY_LIMIT) starts.push(document.at(-1).sequence_number);
  }
  return starts;
}

async function page(api, path, after, limit) {
  return api.get(`${path}/history?consistency=eventually&limit=${limit}&after=${after}`, { whole: true }).catch((error) => {
    if (error.status === 404) return { document: [], headers: new Headers() };
    throw error;
  });
}

function entries(api, place, path, pages) {
  into(place, async () => {
    const { document, headers } = await page(api, path, pages.at(-1), HISTORY_LIMIT);
    const rows = document.toReversed().map((entry) => h("tr", null,
      h("th", null, moment(entry.timestamp)), h("td", null, cell(entry.event_type)),
      h("td", null, h("ul", { class: "changes" }, Object.entries(entry.changes).map(([name, change]) => h("li", null,
        h("strong", null, name), ": ", h("del", null, cell(inline(change.old))), " → ", h("ins", null, cell(inline(change.new))))))),
      h("td", null, cell(inline(entry.actor))), h("td", { class: "number" }, count(entry.index))));
    const next = headers.get("link") ? document.at(-1).sequence_number : null;
    return h("div", null,
      rowsOf("History, newest first", ["When", "What", "Changes", "By", { text: "Log entry", number: true }], rows, "Nothing has changed since its history is kept."),
      pager(pages, next, (other) => entries(api, place, path, other), ["Older", "Newer"]));
  });
}
