"""HTML page of the demo: notes, and the backend that answers."""

from __future__ import annotations

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Notes</title>
<link rel="icon" href="data:,">
<style>
  :root { color-scheme: light dark; }
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem; }
  form { display: flex; gap: .5rem; }
  input { flex: 1; }
  input, button { font: inherit; padding: .4rem .6rem; }
  ul { padding: 0; list-style: none; }
  li { display: flex; gap: .5rem; align-items: baseline; padding: .4rem 0; border-bottom: 1px solid #8884; }
  li span { flex: 1; overflow-wrap: anywhere; }
  small, #backend { opacity: .7; }
  #problem { color: #c33; min-height: 1.5em; }
</style>
</head>
<body>
<h1>Notes</h1>
<p id="backend" role="status">asking which backend answers …</p>
<form id="form">
  <input id="text" maxlength="2000" required autofocus aria-label="New note" placeholder="Write a note">
  <button>Add</button>
</form>
<p id="problem" role="alert"></p>
<ul id="notes"></ul>
<script>
"use strict";
const $ = id => document.getElementById(id);
async function call(path, options) {
  const response = await fetch(path, options);
  const body = await response.json();
  if (!response.ok) throw new Error(body.detail || response.statusText);
  return body;
}
function attempt(action) {
  return action().then(() => { $("problem").textContent = ""; },
                       error => { $("problem").textContent = String(error.message || error); });
}
async function refresh() {
  const { notes } = await call("/api/notes");
  $("notes").replaceChildren(...notes.map(note => {
    const item = document.createElement("li");
    const text = document.createElement("span");
    text.textContent = note.text;
    const origin = document.createElement("small");
    origin.textContent = note.written_by;
    const remove = document.createElement("button");
    remove.textContent = "Delete";
    remove.setAttribute("aria-label", `Delete the note ${note.text}`);
    remove.onclick = () => attempt(async () => {
      await call(`/api/notes/${note.id}`, { method: "DELETE" });
      await refresh();
    });
    item.append(text, origin, remove);
    return item;
  }));
}
async function whoami() {
  const me = await call("/whoami");
  $("backend").textContent = me.slot === null ? `answered by pid ${me.pid}, release ${me.release}`
    : `answered by slot ${me.slot}, generation ${me.generation}, release ${me.release} (pid ${me.pid})`;
}
$("form").onsubmit = event => {
  event.preventDefault();
  attempt(async () => {
    await call("/api/notes", { method: "POST", headers: { "content-type": "application/json" },
                               body: JSON.stringify({ text: $("text").value }) });
    $("text").value = "";
    await refresh();
  });
};
attempt(refresh);
attempt(whoami);
setInterval(() => attempt(whoami), 1000);
</script>
</body>
</html>
""".encode()
