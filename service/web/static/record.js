// The back-test: errors by group, and each row's prediction over what was observed.

import { get } from "./api.js";
import { draw } from "./plots.js";
import { percent } from "./units.js";

const $ = (id) => document.getElementById(id);
const HEADS = ["group", "rows", "median error", "nine in ten below", "worst", "bias", "set aside", "inside the interval"];

function made(tag, text, name) {
  const element = document.createElement(tag);
  element.textContent = text;
  if (name) element.className = name;
  return element;
}

function show(found) {
  const table = document.createElement("table");
  const head = document.createElement("tr");
  head.append(...HEADS.map((name, i) => Object.assign(made("th", name, i ? "number" : ""), { scope: "col" })));
  table.append(head);
  for (const group of found.groups) {
    const row = document.createElement("tr");
    const figures = [group.rows, percent(group.median_error), percent(group.p90_error), percent(group.worst_error), percent(group.bias), group.set_aside, group.coverage === null ? "none" : percent(group.coverage)];
    row.append(Object.assign(made("th", group.name), { scope: "row" }), ...figures.map((value) => made("td", String(value), "number")));
    table.append(row);
  }
  $("groups").replaceChildren(table);
  const sources = [...new Set(found.items.map((item) => item.source))];
  const traces = sources.map((source) => {
    const rows = found.items.filter((item) => item.source === source);
    return { type: "scatter", mode: "markers", name: source, x: rows.map((r) => r.observed), y: rows.map((r) => r.value / r.observed), text: rows.map((r) => r.case), marker: { size: 5, opacity: 0.6 }, hovertemplate: "%{text}<br>observed %{x:.4g}, predicted %{y:.3f} of it<extra></extra>" };
  });
  draw($("plot"), traces, { height: 420, xaxis: { type: "log", title: { text: "observed" } }, yaxis: { type: "log", title: { text: "predicted / observed" } } });
}

async function load() {
  $("busy").textContent = "Loading …";
  try {
    const quantity = $("quantity").value;
    const query = new URLSearchParams({ by: $("by").value, limit: "5000", ...(quantity ? { quantity } : {}) });
    show(await get(`/accuracy?${query}`));
    $("busy").textContent = "";
  } catch (error) {
    $("busy").textContent = `The record did not answer: ${error.message}`;
  }
}

async function start() {
  const { groups } = await get("/accuracy?by=quantity&limit=0");
  $("quantity").replaceChildren(...groups.map((group) => Object.assign(made("option", group.name.replaceAll("_", " ")), { value: group.name })));
  await load();
}

$("quantity").addEventListener("change", load);
$("by").addEventListener("change", load);
start();
