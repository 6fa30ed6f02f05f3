// What changes the cluster: each behind a dialog that says what it does, and with the admin right.

import { button, h } from "./dom.js";
import { notify } from "./notices.js";

let number = 0;

/** A field with its label. */
export function field(label, attributes, hint) {
  number += 1;
  const id = `field-${number}`;
  const input = h("input", { id, autocomplete: "off", spellcheck: "false", ...attributes });
  return { input, element: h("p", { class: "field" }, h("label", { for: id }, label), input, hint && h("small", null, hint)) };
}

/**
 * Ask whether to do something, and do it. `work` returns what is told when it is done; what it throws is shown in the
 * dialog, which stays open. The admin token is asked for if there is one and it is not known yet.
 */
export function confirm(api, { title, content, confirmText, danger = false, work }) {
  number += 1;
  const heading = `dialog-${number}`;
  const problem = h("p", { class: "problem", role: "alert" });
  const yes = h("button", { type: "submit", class: danger ? "danger" : "primary" }, confirmText);
  const token = field("Admin token", { type: "password" }, "It stays in this page until you close it.");
  const needsToken = api.about?.admin_token && !api.hasToken;
  const form = h("form", null, h("h2", { id: heading }, title), content, needsToken && token.element, problem,
    h("p", { class: "buttons" }, button("Cancel", () => dialog.close()), yes));
  const dialog = h("dialog", { "aria-labelledby": heading, onclose: () => dialog.remove() }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (yes.disabled) return;
    yes.disabled = true;
    problem.textContent = "";
    if (token.input.value) api.setToken(token.input.value);
    try {
      const told = await work();
      dialog.close();
      notify(told); // nobody hears what is said behind an open dialog
    } catch (error) {
      if (!dialog.open) notify(`${title}: ${error.message}`, "bad");
      if (error.status === 401) {
        api.setToken(null);
        if (!token.element.isConnected) problem.before(token.element);
        token.input.focus();
      }
      problem.textContent = error.outcome === "unknown" ? `${error.message} – it may have been done, or still may.` : error.message;
    }
    yes.disabled = false;
  });
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, yes };
}

const voting = (node) => node.member.role === "voter";

/** What can be done with a member: [id, button, words, work, danger]. */
function choices(cluster, api, node) {
  const id = node.id;
  const leads = cluster.leader?.report.node_id === id;
  const isLast = voting(node) && cluster.voters.length < 2;
  const put = (path, told, method = "POST") => async () => {
    await api.ask(method, `/cluster/${path}`);
    return told;
  };
  const found = [];
  if (leads && !isLast) {
    found.push(["Hand the leadership over", "The fittest of the others takes over. Clients go on; writes wait for a moment.", async () => {
      const { leader } = await api.ask("POST", "/cluster/leader", { body: {} });
      return `Node ${leader} leads now.`;
    }]);
  } else if (voting(node) && !leads) {
    found.push([`Have node ${id} lead`, "The leader hands over to it, once it has everything. Writes wait for a moment.", async () => {
      await api.ask("POST", "/cluster/leader", { body: { node_id: id } });
      return `Node ${id} leads now.`;
    }]);
  }
  if (node.stream?.isDirect) {
    found.push(["Take a snapshot", "The node makes its state durable and cuts its log as far as no other node needs it. It goes on serving.", async () => {
      const done = await api.ask("POST", "/cluster/snapshot", { base: node.stream.base });
      return `The log of node ${done.node_id} begins with entry ${done.log_first_index} now.`;
    }]);
  }
  if (node.member.role === "learner") found.push(["Let it vote", "It becomes a voter as soon as it has caught up.", put(`members/${id}/promote`, `Node ${id} will vote.`)]);
  if (voting(node) && !isLast) found.push(["Make it a learner", "It receives everything, and votes no more: majorities are of those that are left.", put(`members/${id}/demote`, `Node ${id} is a learner.`)]);
  if (!isLast) found.push(["Remove it from the cluster", "Its process ends, and does not come back with the data it has. A leader hands over first.", put(`members/${id}`, `Node ${id} is no member any more.`, "DELETE"), true]);
  return found;
}

export function manage(cluster, api, id) {
  const node = cluster.nodes.find((each) => each.id === id);
  if (!node) return undefined;
  const offered = choices(cluster, api, node);
  if (!offered.length) return notify(`Nothing can be done with node ${id} from here.`, "bad");
  number += 1;
  const name = `choice-${number}`;
  let chosen = offered[0];
  const radios = offered.map((choice, at) => h("label", { class: "choice" },
    h("input", { type: "radio", name, checked: at === 0, onchange: () => choose(choice) }),
    h("span", null, h("strong", null, choice[0]), h("small", null, choice[1]))));
  const { yes } = confirm(api, {
    title: `Node ${id}`,
    content: h("fieldset", null, h("legend", null, `What is to be done with node ${id} at ${node.address}?`), radios),
    confirmText: chosen[0],
    work: () => chosen[2](),
  });
  function choose(choice) {
    chosen = choice;
    yes.textContent = choice[0];
    yes.className = choice[3] ? "danger" : "primary";
  }
  return undefined;
}

export function addMember(cluster, api) {
  const id = field("Id", { type: "number", min: 1, required: true, value: Math.max(0, ...cluster.nodes.map((each) => each.id)) + 1 });
  const address = field("Address", { required: true, placeholder: "10.0.0.4:8080" }, "Where the others reach it, as host:port.");
  const role = h("select", { id: "role" }, h("option", { value: "voter" }, "voter: holds data and votes"),
    h("option", { value: "learner" }, "learner: holds data"), h("option", { value: "witness" }, "witness: votes, holds no data"));
  const peers = cluster.nodes.map((each) => each.address).join(",");
  const command = h("code", { class: "block" });
  const tell = () => {
    const port = /:(\d+)$/.exec(address.input.value)?.[1] ?? "PORT";
    command.textContent = `quorate node --join --node-id ${id.input.value} --port ${port} --data-dir data/node${id.input.value} --peers ${peers}`;
  };
  id.input.addEventListener("input", tell);
  address.input.addEventListener("input", tell);
  tell();
  confirm(api, {
    title: "Add a member",
    content: [h("p", null, "Start its process first, and with the options that the others have, such as --app:"), command,
      h("p", null, "It is brought everything, and votes once it has caught up."), id.element, address.element, h("p", { class: "field" }, h("label", { for: "role" }, "Role"), role)],
    confirmText: "Add it",
    work: async () => {
      const body = { node_id: Number(id.input.value), address: address.input.value.trim(), role: role.value };
      await api.ask("POST", "/cluster/members", { body });
      return `Node ${body.node_id} is added.`;
    },
  });
}
