import "./style.css";
import picture from "./picture.svg?no-inline";

const app = document.querySelector("#app");

// The history router of a single-page app: paths are the browser's, and no file is called like one.
const project = /^\/projects\/(\d+)$/.exec(location.pathname);
app.innerHTML = `<h1>${project ? `Project ${project[1]}` : "Studio"}</h1>
<img alt="" width="60" src="${picture}"><p id="api">…</p><p id="event">…</p><p id="late">…</p>`;

const say = (id, text) => (document.querySelector(id).textContent = text);

fetch("/api/whoami")
  .then((answer) => answer.json())
  .then((who) => say("#api", `api: ${who.path} at ${who.root}`));

const socket = new WebSocket(`${location.origin.replace("http", "ws")}/events`);
socket.onmessage = (event) => say("#event", `event: ${event.data}`);
socket.onopen = () => socket.send("hello");

import("./late.js").then((late) => say("#late", late.text));
