// Short words at the edge of the page, which screen readers hear.

import { button, h } from "./dom.js";

const SHOWN_MS = 10_000;
const SHOWN_MAX = 4;

export function notify(text, level = "good") {
  const place = document.getElementById("notices");
  const notice = h("div", { class: `notice ${level}` }, h("span", null, text), button("×", () => notice.remove(), { class: "icon", "aria-label": "Dismiss" }));
  place.append(notice);
  while (place.children.length > SHOWN_MAX) place.firstElementChild.remove();
  const fade = () => (notice.matches(":hover, :focus-within") ? setTimeout(fade, SHOWN_MS) : notice.remove());
  setTimeout(fade, SHOWN_MS);
}

/** Say something to those who hear the page: what it shows to the others anyway. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}
