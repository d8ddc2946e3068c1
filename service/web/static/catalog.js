// The catalog as a table: name, figures, source and date of each fact.

import { names } from "./api.js";
import { bytes, count, plain } from "./units.js";

const $ = (id) => document.getElementById(id);
const rate = (value) => `${count(value)} FLOP/s`;
const COLUMNS = {
  models: [["family", (f) => f.family], ["modality", (f) => f.modality], ["parameters", (f) => f.expected_parameters ? count(f.expected_parameters.total) : ""], ["released", (f) => f.released || ""]],
  accelerators: [["memory", (f) => bytes(f.memory_bytes)], ["bandwidth", (f) => `${bytes(f.memory_bandwidth_bytes_per_second)}/s`], ["16-bit peak", (f) => rate(f.peak_flops.bf16 || f.peak_flops.fp16 || f.peak_flops.fp32)], ["limit", (f) => `${plain(f.tdp_watts)} W`]],
  regions: [["grid, g/kWh", (f) => f.grid_gco2e_per_kwh ?? ""], ["year", (f) => f.grid_year ?? ""], ["PUE", (f) => f.pue ?? ""], ["stands in", (f) => f.grid_from || ""]],
  prices: [["accelerator", (f) => f.accelerator], ["region", (f) => f.region || ""], ["term", (f) => f.term || ""], ["USD a device-hour", (f) => plain(f.usd_per_device_hour)]],
  claims: [["statement", (f) => f.claim || f.statement || f.title || ""]],
};
let items = [];

function cell(tag, text, scope) {
  const element = document.createElement(tag);
  element.textContent = text;
  if (scope) element.scope = scope;
  return element;
}

function show() {
  const kind = $("kind").value;
  const wanted = $("search").value.trim().toLowerCase();
  const found = items.filter((item) => item.name.includes(wanted));
  const table = document.createElement("table");
  const head = document.createElement("tr");
  head.append(...["name", ...COLUMNS[kind].map(([name]) => name), "source", "date"].map((name) => cell("th", name, "col")));
  table.append(head);
  for (const item of found.slice(0, 500)) {
    const row = document.createElement("tr");
    row.append(cell("th", item.name, "row"), ...COLUMNS[kind].map(([, pick]) => cell("td", String(pick(item) ?? ""))));
    row.append(cell("td", item.provenance.source), cell("td", item.provenance.source_date || "not stated"));
    table.append(row);
  }
  $("facts").replaceChildren(table);
  $("busy").textContent = `${found.length} of ${items.length} facts${found.length > 500 ? "; the first 500 are shown" : ""}`;
}

async function load() {
  $("busy").textContent = "Loading …";
  try {
    items = await names(`/${$("kind").value}`);
    show();
  } catch (error) {
    $("busy").textContent = `The catalog did not answer: ${error.message}`;
  }
}

$("kind").addEventListener("change", load);
$("search").addEventListener("input", show);
$("filter").addEventListener("submit", (event) => event.preventDefault());
load();
