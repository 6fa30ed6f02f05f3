// Making elements. Data gets into the page as text and as attributes, and in no other way.

import { NONE } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An element of HTML: `h("p", {class: "quiet"}, "text", child)`. */
export const h = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);

/** One of SVG. */
export const s = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

/** Set the text of an element, only if it is another: so that nobody is told of what has not changed. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Have the children of `parent` be these, in this order; those that are there stay as they are, with their focus. */
export function arrange(parent, children) {
  children.forEach((child, at) => {
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] ?? null);
  });
  while (parent.children.length > children.length) parent.lastElementChild.remove();
}

const wide = new ResizeObserver((entries) => { // what can be scrolled is reached with the keyboard, what cannot is no stop
  for (const { target } of entries) setAttribute(target, "tabindex", target.scrollWidth > target.clientWidth ? 0 : null);
});

/**
 * A table with a caption for those who do not see it. `columns` are texts, or {text, number, isUnseen}. On small screens
 * each row is a card, of two columns if `kind` is "compact"; the roles are spelled out because browsers forget them where rows are no rows.
 */
export function table(caption, columns, body, kind = "") {
  const heads = columns.map((column) => h("th", { scope: "col", role: "columnheader", class: column.number ? "number" : null },
    column.isUnseen ? h("span", { class: "unseen" }, column.text) : column.text ?? column));
  body.setAttribute("role", "rowgroup");
  for (const row of body.rows) {
    labelled(row, columns);
    for (const each of row.cells) each.classList.toggle("none", each.textContent === NONE);
  }
  const scroll = h("div", { class: `scroll ${kind}`, role: "group", "aria-label": caption },
    h("table", { role: "table" }, h("caption", { class: "unseen" }, caption), h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)), body));
  wide.observe(scroll);
  return scroll;
}

/** A row whose cells know their columns. */
export function labelled(row, columns) {
  row.setAttribute("role", "row");
  [...row.cells].forEach((cell, at) => {
    cell.setAttribute("role", cell.tagName === "TH" ? "rowheader" : "cell");
    const column = columns[at];
    if (at > 0 && !column.isUnseen) cell.dataset.label = column.text ?? column;
  });
  return row;
}

/** The column of the buttons. */
export const ACTIONS = { text: "Actions", isUnseen: true };

const SHORT_MAX = 160;
const LONG_MAX = 20_000;

/** Data in a cell: shortened, and kept from turning around what stands beside it. */
export const cell = (text) => h("bdi", { class: "cut" }, text.length > SHORT_MAX ? `${text.slice(0, SHORT_MAX)}…` : text);

/** Data as a whole, if that is not too long for a page. */
export const whole = (text) => h("bdi", { class: "value" }, text.length > LONG_MAX
  ? `${text.slice(0, LONG_MAX)}… and ${(text.length - LONG_MAX).toLocaleString("en")} more characters` : text);

export const button = (text, onclick, attributes) => h("button", { type: "button", onclick, ...attributes }, text);
