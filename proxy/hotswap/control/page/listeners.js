// Listeners: where clients come in, and the certificates that they are shown there.

import { h } from "/page/element.js";
import { count, day, short } from "/page/words.js";

const SOON = 14 * 86400 * 1000; // milliseconds before its end that a certificate is worth a warning

export function listeners({ listeners: all, certificates }, now) {
  const names = Object.keys(all);
  return [h("h2", { id: "listeners-title" }, "Listeners"),
    names.length ? h("table", { class: "listeners" },
      h("caption", { class: "unseen" }, "Listeners with their certificates"),
      h("thead", {}, h("tr", {}, ["listener", "address", "connections", "certificate", "ends"].map((name) =>
        h("th", { scope: "col", class: name === "connections" ? "number" : null }, name)))),
      h("tbody", {}, names.map((name) => rows(name, all[name], certificates.filter((one) => one.listener === name), now))))
      : h("p", { class: "none" }, "There is none: no client can come in.")];
}

function rows(name, { bind, urls, connections }, certificates, now) {
  const shown = certificates.length ? certificates : [null];
  return shown.map((certificate, index) => h("tr", { "data-key": `${name}-${index}`, class: index ? "second" : null },
    h("th", { scope: "row" }, index ? "" : name),
    h("td", { "data-label": "address" }, index ? "" : places(bind, urls)),
    h("td", { "data-label": "connections", class: "number" }, index ? "" : String(connections)),
    certificate === null ? [h("td", { "data-label": "certificate" }, "none: plain HTTP"), h("td", {})]
      : [h("td", { "data-label": "certificate", title: certificate.file }, certificate.names.join(", ") || "no name",
        h("span", { class: "from" }, certificate.file ? short(certificate.file) : "for development")),
      h("td", { "data-label": "ends", class: ending(certificate, now), title: certificate.expires }, day(certificate.expires, now))]));
}

function places(bind, urls) {
  const links = urls.map((url) => h("a", { href: url, target: "_blank", rel: "noreferrer" }, url));
  const sockets = bind.filter((place) => place.startsWith("unix:")).map((place) => h("span", { title: place }, short(place)));
  return [...links, ...sockets].flatMap((place, index) => (index ? [" ", place] : [place]));
}

function ending({ expires }, now) {
  const left = Date.parse(expires) - now;
  return left < 0 ? "bad" : left < SOON ? "warn" : null;
}

// What a pool answers, as the routes have it.
export function answers(pool, routes) {
  return routes.filter((route) => route.pool === pool).flatMap(({ hosts, path }) =>
    hosts.length ? hosts.map((host) => `${host}${path}`) : [path]);
}

// How many clients there are.
export function clients({ listeners: all }) {
  return count(Object.values(all).reduce((sum, { connections }) => sum + connections, 0), "connection");
}
