// The first page asks for its numbers again and again. All text is set as text: nothing that others sent becomes markup.
"use strict";

const EVERY_MS = 2000;
const POINTS = 60;
const SVG = "http://www.w3.org/2000/svg";
const spell = new Intl.NumberFormat("en");
const plots = new Map();
let before = null;

function put(id, value) {
  document.getElementById(id).textContent = value === null ? "–" : spell.format(value);
}

// A rate needs two looks; a counter that fell belongs to an engine that was started again.
function rate(now, then, seconds) {
  if (now === null || then === null || then === undefined || now < then || seconds <= 0) return null;
  return (now - then) / seconds;
}

function plot(name, value) {
  const points = plots.get(name) || [];
  points.push(value === null ? 0 : value);
  plots.set(name, points.slice(-POINTS));
  const svg = document.querySelector(`svg[data-plot="${name}"]`);
  const highest = Math.max(...plots.get(name), 1);
  const line = document.createElementNS(SVG, "polyline");
  line.setAttribute("points", plots.get(name).map((y, x) => `${x * 2},${27 - 26 * y / highest}`).join(" "));
  svg.replaceChildren(line);
}

function row(...cells) {
  const made = document.createElement("tr");
  cells.forEach((text, number) => {
    const cell = document.createElement("td");
    cell.textContent = text;
    if (number > 0) cell.className = "number";
    made.append(cell);
  });
  return made;
}

function show(now) {
  const seconds = before === null ? 0 : (now.taken_ms - before.taken_ms) / 1000;
  if (before !== null && seconds <= 0) return;
  const state = document.getElementById("state");
  state.className = now.up ? "up" : "down";
  state.textContent = (now.up ? "The engine answers. " : `${now.problem} `)
    + (now.shadow ? "Shadow mode: nothing is dropped. " : "")
    + (now.interfaces.length ? `Guarded: ${now.interfaces.join(", ")}.` : "");
  for (const name of ["passed", "dropped", "inspected", "alerts"]) {
    const a_second = before === null ? null : rate(now.totals[name], before.totals[name], seconds);
    const total = now.totals[name] === null ? "–" : spell.format(now.totals[name]);
    document.getElementById(name).textContent = a_second === null ? total : `${spell.format(Math.round(a_second))} /s`;
    document.getElementById(name).title = `${total} since the beginning`;
    if (a_second !== null) plot(name, a_second);
  }
  for (const name of ["lag_ms", "flows", "blocks", "rules"]) put(name, now[name]);
  plot("lag_ms", now.lag_ms);
  const then = new Map(before === null ? [] : before.reasons.map((reason) => [reason.name, reason.packets]));
  document.querySelector("#reasons tbody").replaceChildren(...now.reasons.map((reason) => {
    const a_second = before === null ? null : rate(reason.packets, then.get(reason.name) || 0, seconds);
    return row(reason.name, spell.format(reason.packets), a_second === null ? "–" : spell.format(Math.round(a_second)));
  }));
  document.querySelectorAll("#rings tbody tr").forEach((line, number) => {
    const ring = now.rings[number];
    if (ring === undefined) return;
    line.querySelector("meter").value = ring.percent;
    line.querySelector("span").textContent = ring.percent;
  });
  document.querySelector("#uninspected tbody").replaceChildren(...now.uninspected.map((missed) => {
    const amounts = [missed.flows, missed.packets, missed.bytes].map((n) => (n === null ? "–" : spell.format(n)));
    const made = row(missed.reason, ...amounts, (missed.intended ? "by the settings: " : "") + missed.remedy);
    made.title = missed.why;
    made.lastChild.className = "";
    if (!missed.intended) made.className = "lost";
    return made;
  }));
  before = now;
}

async function look() {
  try {
    const answer = await fetch("/api/now", { cache: "no-store" });
    if (answer.status === 401) { location.reload(); return; }
    show(await answer.json());
  } catch (error) {
    const state = document.getElementById("state");
    state.className = "down";
    state.textContent = "The console does not answer.";
  }
  setTimeout(look, EVERY_MS);
}

look();
