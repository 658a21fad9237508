// What an operator does from the page: one click with a reason; a kill asks once.

const TOLD_MS = 12000;
const NO_REASON = "from the dashboard";

const csrf = document.querySelector("meta[name=csrf]")?.content ?? "";
const dialog = document.getElementById("kill");

/** Listen for clicks on the buttons of all rows, those of the future as well. */
export function listen() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-verb]");
    if (button) act(button);
  });
  // A key that is held down must not answer the question that it has just opened.
  dialog?.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    if (event.repeat || event.target.id === "last-words") event.preventDefault();
    if (!event.repeat && event.target.id === "last-words") {
      const yes = dialog.querySelector("button[value=yes]");
      dialog.querySelector("form").requestSubmit(yes);
    }
  });
}

async function act(button) {
  const row = button.closest("[data-row]");
  const { verb } = button.dataset;
  const { agent = "", host = "", incident = "" } = row.dataset;
  const subject = verb === "ack" ? `incident ${incident}` : agent;
  let reason = document.getElementById("reason")?.value.trim() ?? "";
  if (verb === "kill") {
    const answer = await ask(host ? `${subject} on ${host}` : subject, reason);
    if (answer === null) return;
    reason = answer;
  }
  const path = verb === "ack" ? `incidents/${encodeURIComponent(incident)}` : `agents/${encodeURIComponent(agent)}`;
  const on = host ? `?host=${encodeURIComponent(host)}` : "";
  const notice = tell(`${verb} ${subject}…`, "busy");
  button.setAttribute("aria-busy", "true");
  const [text, outcome] = await send(`/api/v1/${path}/${verb}${on}`, reason || NO_REASON, subject);
  button.removeAttribute("aria-busy");
  settle(notice, text, outcome);
  const field = document.getElementById("reason");
  if (outcome === "done" && field) field.value = "";
  if (document.activeElement === document.body || button.hidden) row.querySelector("a")?.focus();
}

/** Ask once. Returns the reason, or null for no. */
function ask(subject, reason) {
  document.getElementById("victim").textContent = subject;
  const words = document.getElementById("last-words");
  words.value = reason;
  dialog.returnValue = "no";
  dialog.showModal();
  words.focus();
  return new Promise((resolve) => {
    const closed = () => resolve(dialog.returnValue === "yes" ? words.value.trim() : null);
    dialog.addEventListener("close", closed, { once: true });
  });
}

/** Send one command; returns what to tell, and whether it was done. */
async function send(path, reason, subject) {
  try {
    const reply = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Agentd-CSRF": csrf },
      body: JSON.stringify({ reason }),
    });
    const document_ = await reply.json().catch(() => ({}));
    if (reply.ok) return [outcomeOf(document_, subject), "done"];
    return [refusalOf(document_, reply.status), "failed"];
  } catch {
    return ["The dashboard does not answer: nothing is known to have been done.", "failed"];
  }
}

function outcomeOf(reply, subject) {
  const told = (reply.agents ?? reply.incidents ?? [])[0] ?? {};
  const parts = [told.message, told.why].filter(Boolean);
  return `${subject}: ${parts.join("; ") || told.state || "done"}`;
}

function refusalOf(reply, status) {
  const error = reply.error ?? reply;
  const hint = error.hint ? ` (${error.hint})` : "";
  return error.message ? `${error.message}${hint}` : `refused (${status}); reload the page`;
}

function tell(text, outcome) {
  const notice = document.createElement("p");
  document.getElementById("told").append(notice);
  settle(notice, text, outcome);
  return notice;
}

function settle(notice, text, outcome) {
  notice.textContent = text;
  notice.dataset.outcome = outcome;
  if (outcome === "done") setTimeout(() => notice.remove(), TOLD_MS);
  if (outcome === "failed") {
    const close = document.createElement("button");
    close.type = "button";
    close.textContent = "Close";
    close.addEventListener("click", () => notice.remove());
    notice.append(" ", close);
  }
}
