// Asking the nodes: the one that the page came from, or, when it is gone, another.

const SECONDS_MAX = 15;

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
    const up = cluster.up.map((each) => each.base);
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
    let failure = new Error("no node answers");
    for (const each of base ? [base] : this.#bases(method)) {
      let response;
      try {
        response = await fetch(each + (own ? "" : "/dashboard/site") + path, {
          method,
          headers: this.#headers(body),
          body: body === undefined ? undefined : JSON.stringify(body),
          signal: AbortSignal.timeout(SECONDS_MAX * 1000),
          referrerPolicy: "no-referrer",
          cache: "no-store",
        });
      } catch (error) {
        failure = error;
        if (method !== "GET") throw new Error("the node did not answer: it may have been done, or not. Look before you try again.");
        continue;
      }
      const text = await response.text();
      const document = text && /json/.test(response.headers.get("content-type") ?? "") ? JSON.parse(text) : null;
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
