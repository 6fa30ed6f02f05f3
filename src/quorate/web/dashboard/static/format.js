// Numbers, times and sizes as people read them.

export const NONE = "–";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** Milliseconds since 1970 when the page was opened, and from then on by a clock that nobody sets. */
export const now = () => performance.timeOrigin + performance.now();

export const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);

export const count = (value) => (known(value) ? whole.format(value) : NONE);

export function rate(value) {
  if (!known(value)) return NONE;
  return value >= 100 ? whole.format(value) : short.format(value);
}

export function bytes(value) {
  if (!known(value)) return NONE;
  const units = ["B", "KB", "MB", "GB", "TB"];
  let at = 0;
  while (value >= 1000 && at < units.length - 1) {
    value /= 1000;
    at += 1;
  }
  return `${at ? short.format(value) : whole.format(value)} ${units[at]}`;
}

/** A time span, from microseconds to days. */
export function seconds(value) {
  if (!known(value)) return NONE;
  if (value < 0.001) return `${whole.format(value * 1e6)} µs`;
  if (value < 1) return `${short.format(value * 1e3)} ms`;
  if (value < 10) return `${short.format(value)} s`;
  return span(value);
}

/** A longer one, in two units by default: 3 h 12 min. */
export function span(value, most = 2) {
  if (!known(value)) return NONE;
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  let rest = Math.max(0, Math.floor(value));
  const parts = [];
  for (const [name, size] of units) {
    if (rest >= size && parts.length < most) {
      parts.push(`${Math.floor(rest / size)} ${name}`);
      rest %= size;
    } else if (parts.length) break;
  }
  return parts.join(" ") || "0 s";
}

export const percent = (part) => (known(part) ? `${short.format(part * 100)} %` : NONE);

export function ago(time, parts = 2) {
  const value = (Date.now() - Date.parse(time)) / 1000;
  if (!known(value)) return NONE;
  return value < 2 ? "just now" : `${span(value, parts)} ago`;
}

export const clock = (time) => new Date(time).toLocaleTimeString("en", { hour12: false });

export const moment = (time) => (time ? new Date(time).toLocaleString("en-CA", { hour12: false }).replace(",", "") : NONE);

/** A value of JSON in one line. */
export function inline(value) {
  if (value === null || value === undefined) return NONE;
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** An id in a list: those of one minute begin alike. */
export const brief = (id) => (id.length > 20 ? `${id.slice(0, 8)}…${id.slice(-8)}` : id);

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
