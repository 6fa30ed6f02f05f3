// Asking the nodes: the one that the page came from, or, when it is gone, another.

const SECONDS_MAX = 15;
const IMPATIENT_SECONDS_MAX = 4; // if there is another node to ask

/** Numbers as they were written, also those that are no numbers of JavaScript: 9007199254740993, 1.50. */
const exactly = (_, value, context) =>
  typeof value === "number" && context?.source && String(value) !== context.source ? JSON.rawJSON(context.source) : value;

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `the node answered ${status}`);
    this.status = status;
    this.outcome = problem.outcome;
  }
}

export class Api {
  #token = null; // kept in this page's memory only

  constructor(cluster) {
    this.cluster = cluster;
    this.about = null;
  }

  get hasToken() {
    return this.#token !== null;
  }

  setToken(token) {
    this.#token = token || null;
  }

  /** The bases to ask, best first: the leader's node for what changes something, the page's own for reading. */
  #bases(method) {
    const { cluster } = this;
    const up = cluster.up.filter((each) => each.isDirect).map((each) => each.base);
    const first = method === "GET" ? cluster.home : cluster.leader?.base;
    const ordered = [...(up.includes(first) ? [first] : []), ...up.filter((each) => each !== first)];
    return ordered.length ? ordered : [cluster.home];
  }

  async load() {
    this.about = await this.get("/dashboard/about", { own: true });
    return this.about;
  }

  get(path, options) {
    return this.ask("GET", path, options);
  }

  /** The decoded answer. `own` pages are the dashboard's, all others are the node's. Throws `Refused`, and other errors if no node answers. */
  async ask(method, path, { body, own = false, base, whole = false } = {}) {
    if (!/^[ -~]*$/.test(this.#token ?? "")) throw new Refused(401, { detail: "this is not the cluster's admin token" }); // no header takes it
    let failure;
    const bases = base ? [base] : this.#bases(method);
    for (const each of bases) {
      const patience = method === "GET" && each !== bases.at(-1) ? IMPATIENT_SECONDS_MAX : SECONDS_MAX;
      let response;
      try {
        response = await fetch(each + (own ? "" : "/dashboard/site") + path, {
          method,
          headers: this.#headers(body),
          body: body === undefined ? undefined : JSON.stringify(body),
          signal: AbortSignal.timeout(patience * 1000),
          referrerPolicy: "no-referrer",
          cache: "no-store",
        });
      } catch (error) {
        failure = new Error(error.name === "TimeoutError" ? "No node has answered in time." : "No node answers.");
        if (method !== "GET") throw new Error("The node did not answer: it may have been done, or not. Look before you try again.");
        continue;
      }
      const text = await response.text();
      const document = text && /json/.test(response.headers.get("content-type") ?? "") ? JSON.parse(text, exactly) : null;
      if (!response.ok) {
        if (response.status === 503 && method === "GET" && !base) {
          failure = new Refused(response.status, document ?? {});
          continue;
        }
        throw new Refused(response.status, document ?? {});
      }
      return whole ? { document, headers: response.headers } : document;
    }
    throw failure;
  }

  #headers(body) {
    const headers = {};
    if (body !== undefined) headers["content-type"] = "application/json";
    if (this.#token) headers.authorization = `Bearer ${this.#token}`;
    return headers;
  }
}
