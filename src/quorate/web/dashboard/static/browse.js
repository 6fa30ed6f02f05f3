// What the pages with lists have in common: loading, an empty list, more of it, and the answer of a node in words.

import { button, h, table } from "./dom.js";

/** Show in `place` what `load` comes to; a failure is shown there, with a way to try again. The last call counts. */
export async function into(place, load) {
  const turn = Symbol("turn");
  place.turn = turn;
  place.setAttribute("aria-busy", "true");
  try {
    const content = await load();
    if (place.turn === turn) place.replaceChildren(...[content].flat());
  } catch (error) {
    if (place.turn === turn) {
      place.replaceChildren(h("p", { class: "problem", role: "alert" }, error.message), button("Try again", () => into(place, load), { class: "small" }));
    }
  }
  if (place.turn === turn) place.removeAttribute("aria-busy");
}

/** Rows of a table, or what is said where there are none. */
export function rowsOf(caption, columns, rows, none) {
  return rows.length ? table(caption, columns, h("tbody", null, rows)) : h("p", { class: "quiet empty" }, none);
}

/** Buttons to the page before and the next; `pages` is the stack of where they begin. */
export function pager(pages, next, show) {
  if (pages.length < 2 && !next) return null;
  const back = button("Previous", () => show(pages.slice(0, -1)), { disabled: pages.length < 2, class: "small" });
  const on = button("Next", () => show([...pages, next]), { disabled: !next, class: "small" });
  return h("nav", { class: "pager", "aria-label": "Pages of the list" }, back, h("span", { class: "quiet" }, `Page ${pages.length}`), on);
}

/** Names and values of one thing. */
export const facts = (pairs) => h("dl", { class: "facts" }, pairs.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
