// What the pages with lists have in common: loading, an empty list, more of it, and the answer of a node in words.

import { field } from "./actions.js";
import { button, h, table, whole } from "./dom.js";

const RETRY_MS = 3_000;

/**
 * Show in `place` what `load` comes to. A failure is shown there, with a way to try again, which happens by itself where no
 * node answers. The last call counts.
 */
export async function into(place, load) {
  const turn = Symbol("turn");
  place.turn = turn;
  place.setAttribute("aria-busy", "true");
  try {
    const content = await load();
    if (place.turn === turn) replace(place, [content].flat());
  } catch (error) {
    if (place.turn === turn) {
      if (place.firstElementChild?.textContent !== error.message) { // it is said once
        replace(place, [h("p", { class: "problem", role: "alert" }, error.message), button("Try again", () => into(place, load), { class: "small" })]);
      }
      if (!error.status) setTimeout(() => place.isConnected && place.turn === turn && into(place, load), RETRY_MS);
    }
  }
  if (place.turn === turn) place.removeAttribute("aria-busy");
}

/** Put `content` into `place`. Who was at something in there is at the same thing then, or at least there. */
function replace(place, content) {
  const held = place.contains(document.activeElement) ? document.activeElement : null;
  place.replaceChildren(...content);
  if (!held) return;
  const nameOf = (element) => element.getAttribute("aria-label") ?? element.textContent;
  const same = [...place.querySelectorAll(held.tagName)].find((each) => !each.disabled && nameOf(each) === nameOf(held));
  if (!same) place.tabIndex = -1;
  (same ?? place).focus({ preventScroll: true });
}

/** A form that asks for some things, and goes to where the address says them: `place` is that without them. */
export function search(place, fields, query, submitText) {
  const form = h("form", { class: "row", role: "search" }, fields.map((each) => each.element), h("button", { type: "submit", class: "small" }, submitText));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const asked = new URLSearchParams(fields.map((each) => [each.name, each.input.value.trim()]).filter(([, value]) => value));
    location.hash = asked.size ? `${place}?${asked}` : place;
  });
  fields.forEach((each) => { each.input.value = query.get(each.name) ?? each.input.value; });
  return form;
}

/** One of its fields. */
export const asked = (name, label, attributes) => ({ name, ...field(label, { type: "search", ...attributes }) });

/** Rows of a table, or what is said where there are none. */
export function rowsOf(caption, columns, rows, none, kind) {
  return rows.length ? table(caption, columns, h("tbody", null, rows), kind) : h("p", { class: "quiet empty" }, none);
}

/** Buttons to the page before and the next; `pages` is the stack of where they begin. */
export function pager(pages, next, show, [backText, onText] = ["Previous", "Next"]) {
  if (pages.length < 2 && !next) return null;
  const back = button(backText, () => show(pages.slice(0, -1)), { disabled: pages.length < 2, class: "small" });
  const on = button(onText, () => show([...pages, next]), { disabled: !next, class: "small" });
  return h("nav", { class: "pager", "aria-label": "Pages of the list" }, back, h("span", { class: "quiet" }, `Page ${pages.length}`), on);
}

/** Names and values of one thing. */
export const facts = (pairs) => h("dl", { class: "facts" }, pairs.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, typeof value === "string" ? whole(value) : value))));
