// Light or dark: as the system says, until somebody says otherwise.

import { setAttribute } from "./dom.js";

const KEY = "quorate-theme";
const ORDER = ["system", "light", "dark"];
const SIGNS = { system: "◐", light: "☀", dark: "☾" };

function stored() {
  try {
    return ORDER.includes(localStorage.getItem(KEY)) ? localStorage.getItem(KEY) : "system";
  } catch {
    return "system"; // a browser may keep nothing
  }
}

export function themeSwitch(button) {
  let theme = stored();
  function show() {
    setAttribute(document.documentElement, "data-theme", theme === "system" ? null : theme);
    button.textContent = SIGNS[theme];
    setAttribute(button, "aria-label", `Colours: ${theme}. Press to change.`);
    setAttribute(button, "title", `Colours: ${theme}`);
  }
  button.addEventListener("click", () => {
    theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // it holds for this page then
    }
    show();
  });
  show();
}
