// Tasks, queues and workers; what went wrong can be tried again, what is not wanted any more can be cancelled.

import { confirm } from "./actions.js";
import { asked, facts, into, pager, rowsOf, search } from "./browse.js";
import { ACTIONS, button, cell, h, whole } from "./dom.js";
import { ago, brief, count, inline, moment, plural } from "./format.js";

const LIMIT = 25;
const STATES = ["ready", "running", "scheduled", "waiting", "failed", "dead", "succeeded", "cancelled"];
const LEVELS = { dead: "bad", failed: "warning", succeeded: "good", running: "good", cancelled: "none" };
const CANCELLABLE = new Set(["scheduled", "waiting", "ready", "running", "failed"]);
const RETRYABLE = new Set(["dead", "failed", "cancelled"]);

const state = (label) => h("span", { class: "state", "data-level": LEVELS[label] ?? "note" }, label);
const pathOf = (api, task, action = "") => `${api.about.tasks}/tasks/${encodeURIComponent(task)}${action}`;

export function tasksPage(cluster, api, [kind, id], query) {
  const element = h("div", null, h("h1", null, "Tasks"));
  if (!api.about) return { element };
  if (!api.about.tasks) {
    element.append(h("p", { class: "quiet" }, "This node serves no tasks."));
    return { element };
  }
  const place = h("div");
  element.append(place);
  if (kind === "task" && id) {
    into(place, () => one(api, id, () => into(place, () => one(api, id, () => {}))));
    return { element };
  }
  if (!STATES.includes(kind)) kind = "";
  const counts = h("div");
  const found = h("div");
  const sides = h("div", { class: "panels" });
  const filters = ["queue", "type", "worker"].map((each) => asked(each, each[0].toUpperCase() + each.slice(1)));
  const wanted = new URLSearchParams(["queue", "type", "worker"].filter((each) => query.get(each)).map((each) => [each, query.get(each)]));
  place.append(counts, search(kind ? `tasks/${kind}` : "tasks", filters, query, "Filter"), found, sides);
  let pages = [""];
  function showTasks(other = [""]) {
    pages = other;
    into(found, () => list(api, kind, wanted, pages, showTasks, refresh));
  }
  function refresh() {
    into(counts, () => states(api, kind, wanted));
    into(sides, async () => Promise.all([queues(api, refresh), workers(api)]));
    showTasks(pages);
  }
  refresh();
  let beats = 0;
  function update() { // counts are looked at every few seconds; the list only when nothing in it has the focus
    beats += 1;
    if (beats % 20 || document.hidden) return;
    into(counts, () => states(api, kind, wanted));
    if (pages.length === 1 && !found.contains(document.activeElement)) showTasks(pages);
  }
  return { element, update };
}

async function states(api, chosen, wanted) {
  const stats = await api.get(`${api.about.tasks}/stats?consistency=eventually`);
  const chip = (label, number) => h("li", null, h("a", { href: `#tasks${label && `/${label}`}${wanted.size ? `?${wanted}` : ""}`, "aria-current": chosen === label ? "page" : null },
    label || "all", h("span", { class: "count" }, count(number))));
  const all = Object.values(stats.tasks).reduce((sum, each) => sum + each, 0);
  return h("nav", { class: "chips", "aria-label": "Tasks by state" }, h("ul", null, chip("", all), STATES.map((each) => chip(each, stats.tasks[each]))));
}

async function list(api, kind, wanted, pages, show, refresh) {
  const status = kind && `&status=${kind}`;
  const after = pages.at(-1) ? `&after=${encodeURIComponent(pages.at(-1))}` : "";
  const page = await api.get(`${api.about.tasks}/tasks?limit=${LIMIT}&consistency=eventually${status}${after}${wanted.size ? `&${wanted}` : ""}`);
  const rows = page.tasks.map((task) => h("tr", null,
    h("th", null, h("a", { href: `#tasks/task/${encodeURIComponent(task.task_id)}`, title: task.task_id, "aria-label": task.task_id }, brief(task.task_id))),
    h("td", null, state(task.status)), h("td", null, cell(task.type)), h("td", null, cell(task.queue)),
    h("td", { class: "number" }, `${task.attempt} / ${task.max_retries + 1}`), h("td", null, ago(task.submitted_at)),
    h("td", null, cell(inline(task.error ?? task.reason))), h("td", { class: "end" }, actions(api, task, refresh))));
  const columns = ["Task", "State", "Type", "Queue", { text: "Attempt", number: true }, "Submitted", "Error", ACTIONS];
  const title = kind === "dead" ? "Dead letters" : kind ? `Tasks that are ${kind}` : "Tasks, newest first";
  const retryAll = kind === "dead" && rows.length > 0 && button("Retry all…", () => confirm(api, {
    title: "Retry all dead letters",
    content: h("p", null, "All of them become ready again, with all their attempts."),
    confirmText: "Retry all",
    work: async () => {
      const { retried } = await api.ask("POST", `${api.about.tasks}/dead-letters/retry`);
      refresh();
      return `${plural(retried, "task")} will be tried again.`;
    },
  }), { class: "small" });
  return h("section", { class: "panel" }, h("div", { class: "head" }, h("h2", null, title), retryAll || button("Refresh", refresh, { class: "small" })),
    rowsOf("Tasks", columns, rows, kind || wanted.size ? "There are no such tasks." : "There are no tasks yet."), pager(pages, page.next, show));
}

function actions(api, task, refresh) {
  const retry = () => confirm(api, {
    title: "Retry a task",
    content: h("p", null, "Task ", h("code", null, task.task_id), ` (${task.type}) becomes ready again, with all its attempts.`),
    confirmText: "Retry the task",
    work: async () => {
      await api.ask("POST", pathOf(api, task.task_id, "/retry"));
      refresh();
      return `Task ${task.task_id} will be tried again.`;
    },
  });
  const isRunning = task.status === "running";
  const cancel = () => confirm(api, {
    title: "Cancel a task",
    content: [h("p", null, "Task ", h("code", null, task.task_id), ` (${task.type}) is ${task.status}.`),
      isRunning && h("p", null, "Its worker may have done part of it already; what it reports will not count.")],
    confirmText: "Cancel the task",
    danger: true,
    work: async () => {
      await api.ask("POST", pathOf(api, task.task_id, "/cancel"), { body: { force: isRunning } });
      refresh();
      return "The task is cancelled.";
    },
  });
  return [RETRYABLE.has(task.status) && button("Retry…", retry, { class: "small", "aria-label": `Retry task ${task.task_id}` }),
    CANCELLABLE.has(task.status) && button("Cancel…", cancel, { class: "small", "aria-label": `Cancel task ${task.task_id}` })];
}

async function one(api, id, refresh) {
  const task = await api.get(`${pathOf(api, id)}?consistency=eventually`);
  const times = [["Submitted", "submitted_at"], ["Runs at", "run_at"], ["Started", "started_at"], ["Lease until", "lease_until"], ["Ended", "ended_at"], ["Forgotten at", "forgotten_at"]];
  return h("div", null,
    h("p", null, h("a", { href: "#tasks" }, "‹ All tasks")),
    h("section", { class: "panel" },
      h("div", { class: "head" }, h("h2", null, h("span", { class: "value" }, task.task_id)), h("span", null, actions(api, task, refresh))),
      facts([["State", state(task.status)], ["Type", task.type], ["Queue", task.queue], ["Priority", count(task.priority)],
        ["Attempt", `${task.attempt} of ${task.max_retries + 1}`], ["Worker", inline(task.worker)], ["Reason", inline(task.reason)],
        ...times.map(([name, key]) => [name, moment(task[key])])])),
    task.error && h("section", { class: "panel" }, h("h2", null, "Error"), h("pre", null, whole(task.error))),
    h("section", { class: "panel" }, h("h2", null, "Payload"), h("pre", null, whole(JSON.stringify(task.payload, null, 2)))),
    h("section", { class: "panel" }, h("h2", null, "Result"), h("pre", null, task.result === null ? "none" : whole(JSON.stringify(task.result, null, 2)))));
}

async function queues(api, refresh) {
  const { queues: all } = await api.get(`${api.about.tasks}/queues?consistency=eventually`);
  const toggle = (queue) => confirm(api, {
    title: queue.paused ? "Resume a queue" : "Pause a queue",
    content: h("p", null, queue.paused ? `Workers get tasks of ${queue.name} again.` : `Workers get no tasks of ${queue.name} until it is resumed. Tasks can be submitted.`),
    confirmText: queue.paused ? "Resume it" : "Pause it",
    work: async () => {
      await api.ask("POST", `${api.about.tasks}/queues/${encodeURIComponent(queue.name)}/${queue.paused ? "resume" : "pause"}`);
      refresh();
      return queue.paused ? `Queue ${queue.name} goes on.` : `Queue ${queue.name} is paused.`;
    },
  });
  const rows = all.map((queue) => h("tr", null, h("th", null, cell(queue.name)),
    h("td", null, h("span", { class: "state", "data-level": queue.paused ? "warning" : "good" }, queue.paused ? "paused" : "open")),
    h("td", { class: "number" }, count(queue.pending)), h("td", { class: "number" }, count(queue.tasks.running)), h("td", { class: "number" }, count(queue.tasks.dead)),
    h("td", { class: "end" }, button(queue.paused ? "Resume…" : "Pause…", () => toggle(queue), { class: "small", "aria-label": `${queue.paused ? "Resume" : "Pause"} queue ${queue.name}` }))));
  const columns = ["Queue", "State", { text: "Pending", number: true }, { text: "Running", number: true }, { text: "Dead", number: true }, ACTIONS];
  return h("section", { class: "panel" }, h("h2", null, "Queues"), rowsOf("Queues", columns, rows, "There are no queues yet.", "compact"));
}

async function workers(api) {
  const { workers: all } = await api.get(`${api.about.tasks}/workers?limit=100&consistency=eventually`);
  const rows = all.map((worker) => h("tr", null, h("th", null, cell(worker.worker_id)),
    h("td", null, h("span", { class: "state", "data-level": worker.health ? "bad" : "good" }, worker.health || "healthy")),
    h("td", { class: "number" }, `${count(worker.running)} / ${count(worker.concurrency)}`), h("td", null, ago(worker.seen_at)),
    h("td", null, cell(worker.types?.join(", ") ?? "all types"))));
  return h("section", { class: "panel" }, h("h2", null, "Workers"),
    rowsOf("Workers", ["Worker", "Health", { text: "Running", number: true }, "Seen", "Types"], rows, "No worker was heard of lately."));
}
