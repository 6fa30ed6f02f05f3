// What is known of the cluster: one stream to every member, so that the page goes on when any of them dies. Those that the
// browser cannot ask are heard through one that it can.

import { now } from "./format.js";

export const SAMPLES_MAX = 300; // of one second each
const EVENTS_MAX = 300;
const SMOOTHED = 5; // reports over which CPU time is told
const SILENT_MS = 3_500; // a node reports every second
const RETRY_MS = [500, 1_000, 2_000];
const RETRY_RELAYED_MS = 30_000;

/** One member: its stream, and the last that it has told. */
class Member {
  constructor(cluster, address) {
    this.cluster = cluster;
    this.address = address;
    this.base = cluster.baseOf(address);
    this.report = null;
    this.reports = []; // that and some before it
    this.heardAt = 0;
    this.event = 0; // the number of the last event that was seen
    this.failures = 0;
    this.refusal = null;
    this.openedAt = 0;
    this.isBarred = false; // it is of no use to ask there
    this.isRelayed = false; // the last report came through another member
    this.others = new Set(); // the ids of those that this one's stream tells of, too
    this.samples = []; // {at, …}: what the charts show
    this.open();
  }

  open() {
    this.close();
    if (this.isBarred || this.cluster.isPaused) return;
    this.openedAt = now();
    const others = this.others.size ? `&of=${[...this.others].join()}` : "";
    this.source = new EventSource(`${this.base}/dashboard/live?after=${this.isRelayed ? 0 : this.event}${others}`);
    this.source.onmessage = (message) => this.cluster.heardFrom(this, JSON.parse(message.data));
    this.source.addEventListener("other", (message) => this.cluster.heardThrough(JSON.parse(message.data)));
    this.source.onerror = () => this.failed();
  }

  failed() {
    this.close();
    this.others.clear();
    const wait = this.isRelayed ? RETRY_RELAYED_MS : RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
    this.failures += 1;
    if (!this.report && this.base === this.cluster.home) this.ask();
    this.timer = setTimeout(() => this.open(), wait);
    this.cluster.changed();
  }

  /** Why it tells nothing, which a stream that fails does not say. */
  async ask() {
    const control = new AbortController();
    try {
      const answer = await fetch(`${this.base}/dashboard/live`, { signal: control.signal });
      this.refusal = answer.ok ? null : (await answer.json()).detail;
    } catch {
      this.refusal = null;
    }
    control.abort();
    this.cluster.changed();
  }

  /** Ask it no more: the policy of the page forbids that, or somebody else answers there. */
  bar() {
    this.isBarred = true;
    this.failed();
  }

  heard(report, isRelayed = false) {
    if (!isRelayed) this.failures = 0;
    const restarted = this.report && report.uptime_seconds < this.report.uptime_seconds;
    if (restarted) this.event = 0;
    if (restarted || !this.isUp) this.reports = [];
    this.isRelayed = isRelayed;
    this.report = report;
    this.reports.push(report);
    if (this.reports.length > SMOOTHED + 1) this.reports.shift();
    this.heardAt = now();
    for (const event of report.events) {
      this.event = Math.max(this.event, event.number);
      this.cluster.note(report.node_id, event);
    }
    this.sample();
  }

  get isUp() {
    return this.report !== null && now() - this.heardAt < SILENT_MS && (this.isRelayed || this.failures === 0);
  }

  /** Whether the browser has asked it in vain. */
  get isMissed() {
    return !this.isDirect && (this.failures > 0 || now() - this.openedAt > SILENT_MS);
  }

  /** Whether the browser reaches it itself. */
  get isDirect() {
    return this.isUp && !this.isRelayed;
  }

  /** By how much a counter grew in a second, over so many of the last reports. */
  perSecond(pick, reports = 1) {
    const before = this.reports.at(-1 - Math.min(reports, this.reports.length - 1));
    const span = (Date.parse(this.report.time) - Date.parse(before.time)) / 1000;
    const grown = pick(this.report) - pick(before);
    return span > 0 && grown >= 0 ? grown / span : null;
  }

  sample() {
    const { report } = this;
    this.samples.push({
      at: this.heardAt,
      applied: this.perSecond((each) => each.applied_index),
      cpu: this.perSecond((each) => each.process?.cpu_seconds, SMOOTHED),
      memory: report.process?.resident_bytes,
      fsyncs: this.perSecond((each) => each.fsyncs),
      commit: report.latency.commit,
    });
    if (this.samples.length > SAMPLES_MAX) this.samples.shift();
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
  }
}

export class Cluster extends EventTarget {
  constructor() {
    super();
    this.members = new Map(); // by address
    this.events = []; // latest first
    this.home = location.origin + location.pathname.replace(/\/dashboard\/?$/, "");
    this.samples = []; // of the cluster as a whole
    this.isPaused = false;
    this.openedAt = 0;
    document.addEventListener("securitypolicyviolation", (event) => {
      for (const each of this.members.values()) if (!each.isBarred && event.blockedURI.startsWith(each.base)) each.bar();
    });
    this.shareConnections();
    this.follow(location.host);
    setInterval(() => this.tick(), 1_000);
  }

  /** A browser opens six connections to a node, for all its pages: those that nobody sees give theirs to a new one. */
  shareConnections() {
    const pages = new BroadcastChannel("quorate-dashboards");
    pages.onmessage = () => {
      if (document.hidden) this.pause(true);
    };
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.isPaused) {
        this.pause(false);
        pages.postMessage("seen");
      }
    });
    pages.postMessage("opened");
  }

  pause(isPaused) {
    this.isPaused = isPaused;
    this.openedAt = now();
    for (const each of this.members.values()) each.open();
  }

  /** Where a member is asked. All on one machine have the name under which the page was opened. */
  baseOf(address) {
    if (address === location.host) return this.home;
    const port = address.slice(address.lastIndexOf(":") + 1);
    return this.isOneMachine ? `${location.protocol}//${location.hostname}:${port}` : `http://${address}`;
  }

  get isOneMachine() {
    const known = this.known ?? [];
    const hosts = new Set(known.map((each) => each.slice(0, each.lastIndexOf(":"))));
    return hosts.size === 1 && !known.includes(location.host);
  }

  follow(address) {
    if (!this.members.has(address)) this.members.set(address, new Member(this, address));
  }

  /** A member has told of itself. */
  heardFrom(member, report) {
    if (member.address !== report.address) {
      const other = this.members.get(report.address);
      if (other && member.base !== this.home) return member.bar(); // ports lead elsewhere
      other?.close(); // behind what served the page is another node now, or the first report tells which
      this.members.delete(member.address);
      member.address = report.address;
      this.members.set(report.address, member);
    }
    member.heard(report);
    return this.learn(report);
  }

  /** A member has told of another. */
  heardThrough(report) {
    const member = this.members.get(report.address);
    if (!member || member.isDirect) return;
    member.heard(report, true);
    this.learn(report);
  }

  /** Follow whom a report names, and nobody else. */
  learn(report) {
    const listed = report.membership?.members ?? report.peers;
    this.known = [report.address, ...listed.map((each) => each.address)];
    if (report.membership?.committed && (report.role === "leader" || !this.leader)) {
      const current = new Set(this.known);
      this.known.forEach((address) => this.follow(address));
      for (const [address, each] of this.members) {
        if (!current.has(address) && !each.isUp) {
          each.close();
          this.members.delete(address);
        }
      }
    }
    this.changed();
  }

  /** Have a member that is reached tell of those that are not. */
  relay() {
    const direct = this.up.filter((each) => each.isDirect);
    const carrier = direct.find((each) => each.others.size) ?? direct.find((each) => each.base === this.home) ?? direct[0];
    if (!carrier) return;
    const missing = this.nodes.filter(({ stream }) => stream?.isMissed).map((each) => each.id);
    if (missing.every((each) => carrier.others.has(each))) return;
    missing.forEach((each) => carrier.others.add(each));
    carrier.open();
  }

  note(nodeId, event) {
    if (event.kind.startsWith("partition_") && this.best && !this.nodes.some((each) => each.id === nodeId)) return; // it was removed
    const id = `${nodeId}/${event.time}/${event.number}`;
    if (this.events.some((each) => each.id === id)) return;
    this.events.push({ id, node: nodeId, ...event });
    this.events.sort((one, other) => (one.time < other.time ? 1 : -1));
    this.events.length = Math.min(this.events.length, EVENTS_MAX);
  }

  tick() {
    if (this.isPaused || now() - this.openedAt < 1_000) return; // nothing is known yet
    this.relay();
    const leader = this.leader;
    const up = this.nodes.filter((each) => each.state === "up").length;
    const last = leader?.samples.at(-1);
    this.samples.push({
      at: now(),
      leader: leader?.report.node_id ?? this.hearsay,
      up,
      applied: last?.applied ?? (leader ? null : 0),
      commit: last?.commit ?? null,
    });
    if (this.samples.length > SAMPLES_MAX) this.samples.shift();
    this.changed();
  }

  changed() {
    if (this.due) return;
    this.due = true;
    setTimeout(() => {
      this.due = false;
      this.dispatchEvent(new Event("change"));
    }, 50);
  }

  // -- what it amounts to ------------------------------------------------------------------------------

  get up() {
    return [...this.members.values()].filter((each) => each.isUp);
  }

  /** Whoever says that it leads, in the highest term. */
  get leader() {
    const leading = this.up.filter((each) => each.report.role === "leader");
    return leading.sort((one, other) => other.report.term - one.report.term)[0] ?? null;
  }

  /** The id of the leader, if this page was never told of it but by others. */
  get hearsay() {
    const id = this.leader ? null : this.best?.leader ?? null;
    return this.nodes.some((each) => each.id === id && !each.report) ? id : null;
  }

  /** The report that knows most: the leader's, or that of the highest term. */
  get best() {
    const up = this.up.sort((one, other) => other.report.term - one.report.term);
    return (this.leader ?? up[0])?.report ?? null;
  }

  get term() {
    return Math.max(0, ...this.up.map((each) => each.report.term));
  }

  /** All members, each with what the page and the leader know of it. */
  get nodes() {
    const best = this.best ?? [...this.members.values()].find((each) => each.report)?.report;
    if (!best) return [];
    const listed = best.membership?.members ?? [];
    const nodes = listed.map((member) => this.node(member, best));
    if (!listed.length) nodes.push(...this.up.map((each) => this.node(each.report, best)));
    return nodes.sort((one, other) => one.id - other.id);
  }

  node(member, best) {
    const stream = this.members.get(member.address);
    const report = stream?.report ?? null;
    const isHeard = best.role === "leader" ? member.heard !== false && member.connected : member.connected;
    const state = stream?.isUp ? "up" : this.best && isHeard && !stream?.report ? "up" : "down";
    const isUp = stream?.isUp ?? false;
    const lag = best.role === "leader" && state === "up" ? member.lag ?? null : null;
    return { id: member.node_id, address: member.address, member, report, stream, state, isUp, lag };
  }

  get voters() {
    return this.nodes.filter((each) => each.member.role !== "learner");
  }

  get majority() {
    return Math.floor(this.voters.length / 2) + 1;
  }

  /** `good`, `warning` or `bad`, and one sentence that says why. */
  get health() {
    const nodes = this.nodes;
    if (!nodes.length) {
      const { refusal } = [...this.members.values()][0];
      return refusal ? { level: "bad", text: `This node tells nothing: ${refusal}.` } : { level: "unknown", text: "Waiting for the first report…" };
    }
    const up = nodes.filter((each) => each.state === "up");
    const standing = `${up.length} of ${nodes.length} nodes are up`;
    const missing = nodes.filter((each) => each.state !== "up").map((each) => `node ${each.id}`);
    if (!this.up.length) return { level: "bad", text: "No node answers. The page goes on as soon as one does." };
    if (this.hearsay) return { level: "warning", text: `Node ${this.hearsay} leads, as others say: this page does not hear it. ${standing}.` };
    if (!this.leader) {
      const voting = this.voters.filter((each) => each.state === "up").length;
      const why = voting < this.majority ? `no majority of ${this.voters.length} can be reached` : "an election is under way";
      return { level: "bad", text: `No leader: ${why}. ${standing}.` };
    }
    const leads = `node ${this.leader.report.node_id} leads`;
    if (missing.length) {
      return { level: "warning", text: `The cluster serves: ${standing}, and ${leads}. Not reached: ${missing.join(", ")}.` };
    }
    const late = nodes.find((each) => each.lag > 1000);
    if (late) return { level: "warning", text: `The cluster serves, and ${leads}. Node ${late.id} is behind and catches up.` };
    const spare = this.voters.length - this.majority;
    const loss = spare === 0 ? "Nothing may fail." : spare === 1 ? "Any one may fail." : `Any ${spare} may fail.`;
    return { level: "good", text: `All is well: ${nodes.length === 1 ? "the only node is up" : `all ${nodes.length} nodes are up`}, and ${leads}. ${loss}` };
  }
}
