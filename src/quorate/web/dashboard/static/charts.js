// Live charts in SVG, a point a second: what the page has seen, the last five minutes at most.

import { h, s, say, setAttribute } from "./dom.js";
import { NONE, clock, known, now as present } from "./format.js";

const WIDTH = 300;
const HEIGHT = 72;
const SPAN_MS = 300_000;
const SPAN_LEAST_MS = 60_000;

/** How much time there is to show: what was seen so far, a minute at least and five at most; and its words. */
function spanOf(samples) {
  const seen = samples.length ? samples.at(-1).at - samples[0].at : 0;
  const span = Math.min(SPAN_MS, Math.max(SPAN_LEAST_MS, seen));
  return [span, span < 90_000 ? `${Math.round(span / 1000)} s ago` : `${Math.round(span / 60_000)} min ago`];
}

function timesOf() {
  const begin = h("span");
  return [begin, h("div", { class: "times", "aria-hidden": "true" }, begin, h("span", null, "now"))];
}

/** The next "round" number that is not smaller. */
function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((each) => each >= value * 0.999);
}

/**
 * A chart of lines: `lines` are {name, pick}, where `pick` finds a number in a sample; the first one's area is filled.
 * `label` says what it shows, `format` how a number is written, `top` the least upper end.
 */
export function lineChart({ label, lines, format, top = 0, steps = false }) {
  const [begin, times] = timesOf();
  const paths = lines.map((line, at) => s("path", { class: `line line-${at}` }));
  const area = s("path", { class: "area" });
  const cursor = s("line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden" });
  const middle = s("line", { class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT / 2, y2: HEIGHT / 2 });
  const svg = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", class: "chart" },
    s("line", { class: "grid", x1: 0, x2: WIDTH, y1: 0.5, y2: 0.5 }), middle,
    s("line", { class: "axis", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }), area, paths, cursor);
  const end = h("span");
  const readout = h("span", { class: "readout" });
  const legend = lines.length > 1 ? lines.map((line, at) => h("span", { class: `key key-${at}` }, line.name)) : [];
  const element = h("figure", { class: "figure" },
    h("figcaption", null, h("span", null, label), legend, readout),
    h("div", { class: "plot" }, svg, h("span", { class: "top", "aria-hidden": "true" }, end)),
    times);
  let shown = [];
  let span = SPAN_MS;

  function update(samples, least = top) {
    const now = samples.at(-1)?.at ?? present();
    const [width, words] = spanOf(samples);
    span = width;
    say(begin, words);
    shown = samples.filter((each) => each.at >= now - span);
    const values = shown.flatMap((each) => lines.map((line) => line.pick(each)).filter(known));
    const highest = Math.max(least, ...values);
    const limit = steps ? highest || 1 : ceiling(highest);
    say(end, format(limit));
    const x = (at) => (WIDTH * (1 - (now - at) / span)).toFixed(1);
    const y = (value) => (HEIGHT - 1 - (HEIGHT - 4) * (value / limit)).toFixed(1);
    lines.forEach((line, at) => {
      const path = drawn(shown, line.pick, x, y, steps);
      setAttribute(paths[at], "d", path.line || null);
      if (at === 0) setAttribute(area, "d", path.area || null);
    });
    const last = shown.at(-1);
    const told = lines.map((line) => `${lines.length > 1 ? `${line.name} ` : ""}${last ? format(line.pick(last)) : NONE}`);
    setAttribute(svg, "aria-label", `${label}, now ${told.join(", ")}; highest since ${words}: ${values.length ? format(Math.max(...values)) : NONE}`);
  }

  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const now = shown.at(-1)?.at ?? present();
    const at = now - span * (1 - (event.clientX - box.left) / box.width);
    const nearest = shown.reduce((best, each) => (Math.abs(each.at - at) < Math.abs(best.at - at) ? each : best), shown[0]);
    if (!nearest) return;
    const x = WIDTH * (1 - (now - nearest.at) / span);
    setAttribute(cursor, "x1", x);
    setAttribute(cursor, "x2", x);
    setAttribute(cursor, "visibility", "visible");
    say(readout, `${clock(nearest.at)}  ${lines.map((line) => format(line.pick(nearest))).join(" / ")}`);
  });
  svg.addEventListener("pointerleave", () => {
    setAttribute(cursor, "visibility", "hidden");
    say(readout, "");
  });
  return { element, update };
}

/** The line through the samples, with gaps where nothing is known; and the area below it. */
function drawn(samples, pick, x, y, steps) {
  let line = "";
  let area = "";
  let first = null;
  let before = null;
  const close = () => {
    if (first !== null) area += `L${x(before.at)} ${HEIGHT}L${x(first)} ${HEIGHT}Z`;
  };
  for (const sample of samples) {
    const value = pick(sample);
    if (!known(value)) continue;
    const point = `${x(sample.at)} ${y(value)}`;
    if (before && sample.at - before.at < 3_500) {
      const bit = steps ? `H${x(sample.at)}V${y(value)}` : `L${point}`;
      line += bit;
      area += bit;
    } else {
      close();
      line += `M${point}`;
      area += `M${point}`;
      first = sample.at;
    }
    before = sample;
  }
  close();
  return { line, area };
}

/** Who led when: a strip with a piece for each leader and for none. */
export function leaderStrip() {
  const [begin, times] = timesOf();
  const pieces = s("g");
  const svg = s("svg", { viewBox: `0 0 ${WIDTH} 18`, preserveAspectRatio: "none", role: "img", class: "strip" }, pieces);
  const legend = h("span", { class: "legend" });
  const element = h("figure", { class: "figure" },
    h("figcaption", null, h("span", null, "Who led"), legend), svg, times);

  function update(samples) {
    const now = samples.at(-1)?.at ?? present();
    const [span, words] = spanOf(samples);
    say(begin, words);
    const runs = [];
    for (const sample of samples.filter((each) => each.at >= now - span)) {
      const last = runs.at(-1);
      if (last && last.leader === sample.leader && sample.at - last.end < 3_500) last.end = sample.at;
      else {
        if (last && sample.at - last.end < 3_500) last.end = sample.at;
        runs.push({ leader: sample.leader, begin: sample.at, end: sample.at + 1_000 });
      }
    }
    pieces.replaceChildren(...runs.map((run) => {
      const x = Math.max(0, WIDTH * (1 - (now - run.begin) / span));
      const width = Math.max(1, (WIDTH * (run.end - run.begin)) / span);
      return s("rect", { x, width: Math.min(width, WIDTH - x), y: 0, height: 18, class: run.leader === null ? "nobody" : `node-color-${run.leader % 6}` });
    }));
    const leaders = [...new Set(runs.map((run) => run.leader))];
    const keys = leaders.map((each) => (each === null ? "nobody" : `node ${each}`));
    if (legend.dataset.keys !== keys.join()) {
      legend.dataset.keys = keys.join();
      legend.replaceChildren(...leaders.map((each, at) => h("span", { class: `swatch ${each === null ? "nobody" : `node-color-${each % 6}`}` }, keys[at])));
    }
    setAttribute(svg, "aria-label", `Who led since ${words}: ${keys.join(", then ") || "nothing is known"}`);
  }
  return { element, update };
}
