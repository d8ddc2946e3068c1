// Plots, each with a table of the same numbers behind it.

import { bytes, count, kilograms, seconds, usd } from "./units.js";

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const series = () => ["#3b7dd8", "#e0862d", "#3aa17e", "#c2549d", "#8a8f98", "#b5a32a"];

function layout(extra) {
  const axis = { gridcolor: style("--line"), zerolinecolor: style("--line"), automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: style("--ink"), family: "system-ui, sans-serif", size: 13 },
    margin: { l: 10, r: 10, t: 10, b: 10 }, colorway: series(),
    legend: { orientation: "h", y: -0.35 }, hovermode: "closest", ...extra,
    xaxis: { ...axis, ...extra.xaxis }, yaxis: { ...axis, ...extra.yaxis },
  };
}

export function draw(element, traces, extra) {
  const options = { responsive: true, displayModeBar: false };
  element.style.height = `${extra.height}px`;
  window.Plotly.react(element, traces, layout(extra), options);
}

export function table(columns, rows) {
  const element = document.createElement("details");
  const head = columns.map((name, i) => `<th scope="col"${i ? ' class="number"' : ""}></th>`).join("");
  const body = rows.map((row) => `<tr>${row.map((_, i) => `<td${i ? ' class="number"' : ""}></td>`).join("")}</tr>`).join("");
  element.innerHTML = `<summary>The numbers as a table</summary><div class="scroll" tabindex="0" role="region" aria-label="Table"><table><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table></div>`;
  element.querySelectorAll("th").forEach((cell, i) => { cell.textContent = columns[i]; });
  const cells = element.querySelectorAll("td");
  rows.flat().forEach((value, i) => { cells[i].textContent = value; });
  return element;
}

function frame(section, label) {
  const element = document.createElement("div");
  element.className = "plot";
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", label);
  section.append(element);
  return element;
}

const GIB = 2 ** 30;
const PARTS = { parameters_bytes: "parameters", gradients_bytes: "gradients", optimizer_bytes: "optimizer", activations_bytes: "activations", temporaries_bytes: "temporaries", overhead_bytes: "overhead" };

export function memory(section, found) {
  const parts = Object.entries(PARTS).filter(([key]) => found.per_device[key] > 0);
  const label = `Memory of one device: peak ${bytes(found.peak_bytes.value)} of ${bytes(found.capacity_bytes)}`;
  const element = frame(section, label);
  element.style.minHeight = "11rem";
  const traces = parts.map(([key, name]) => ({
    type: "bar", orientation: "h", name, y: ["one device"], x: [found.per_device[key] / GIB],
    hovertemplate: `${name}: %{x:.3g} GiB<extra></extra>`,
  }));
  traces.push({
    type: "scatter", mode: "markers", name: "peak, 90 %", y: ["one device"], x: [found.peak_bytes.value / GIB],
    marker: { color: style("--ink"), size: 8 }, hovertemplate: "peak %{x:.3g} GiB<extra></extra>",
    error_x: { type: "data", symmetric: false, array: [(found.peak_bytes.high - found.peak_bytes.value) / GIB], arrayminus: [(found.peak_bytes.value - found.peak_bytes.low) / GIB], color: style("--ink") },
  });
  const limit = found.capacity_bytes / GIB;
  draw(element, traces, {
    barmode: "relative", height: 220, xaxis: { title: { text: "GiB" } }, yaxis: { showticklabels: false },
    legend: { orientation: "h", y: -0.75 },
    shapes: [{ type: "line", x0: limit, x1: limit, y0: 0, y1: 1, yref: "paper", line: { color: style("--bad"), width: 2, dash: "dash" } }],
    annotations: [{ x: limit, y: 1.05, yref: "paper", text: "limit", showarrow: false, font: { color: style("--bad") } }],
  });
  section.append(table(["part", "bytes"], [...parts.map(([key, name]) => [name, bytes(found.per_device[key])]), ["peak", bytes(found.peak_bytes.value)], ["limit", bytes(found.capacity_bytes)]]));
}

function band(x, low, high, name) {
  return [
    { x, y: high, mode: "lines", line: { width: 0 }, showlegend: false, hoverinfo: "skip" },
    { x, y: low, mode: "lines", line: { width: 0 }, fill: "tonexty", fillcolor: "rgba(59,125,216,.18)", name, hoverinfo: "skip" },
  ];
}

// `best`: the layouts of the Pareto set, which nothing beats in time and money at once.
export function scaling(section, columns, best) {
  const devices = columns["/hardware/count"];
  const element = frame(section, "Days and money against the number of devices");
  const days = columns["/time/wall_clock_seconds/value"].map((s) => s / 86400);
  const low = columns["/time/wall_clock_seconds/low"].map((s) => s / 86400);
  const high = columns["/time/wall_clock_seconds/high"].map((s) => s / 86400);
  const traces = [
    ...band(devices, low, high, "90 %"),
    { x: devices, y: days, mode: "lines+markers", name: "days", line: { color: "#3b7dd8" }, hovertemplate: "%{x} devices: %{y:.3g} days<extra></extra>" },
    { x: devices, y: columns["/cost/usd/value"], yaxis: "y2", mode: "lines+markers", name: "USD", line: { color: "#e0862d", dash: "dot" }, hovertemplate: "%{x} devices: %{y:.3s} USD<extra></extra>" },
  ];
  const optima = best.filter((one) => one.wall_clock_seconds).map((one) => ({ ...one, days: one.wall_clock_seconds.value / 86400 }));
  if (optima.length) {
    traces.push({
      x: optima.map((one) => one.layout.devices), y: optima.map((one) => one.days), mode: "markers", name: "Pareto set",
      marker: { size: 12, symbol: "diamond-open", color: style("--ink") },
      text: optima.map((one) => `data ${one.layout.data}, tensor ${one.layout.tensor}, pipeline ${one.layout.pipeline}`),
      hovertemplate: "%{x} devices: %{y:.3g} days<br>%{text}<extra></extra>",
    });
  }
  const axis = { gridcolor: "rgba(0,0,0,0)", overlaying: "y", side: "right", title: { text: "USD" }, automargin: true, rangemode: "tozero" };
  draw(element, traces, { height: 330, xaxis: { type: "log", title: { text: "devices" }, tickvals: devices }, yaxis: { type: "log", title: { text: "days" } }, yaxis2: axis });
  if (optima.length) {
    const shown = table(["Pareto set: devices", "time", "money", "tensor", "pipeline"], optima.map((one) => [one.layout.devices, seconds(one.wall_clock_seconds.value), one.usd ? usd(one.usd.value) : "", one.layout.tensor, one.layout.pipeline]));
    shown.querySelector("summary").textContent = "The Pareto set as a table";
    section.append(shown);
  }
  section.append(table(["devices", "time", "money"], devices.map((n, i) => [n, seconds(columns["/time/wall_clock_seconds/value"][i]), usd(columns["/cost/usd/value"][i])])));
}

export function regions(section, columns, chosen) {
  const rows = columns["/site/region"].map((name, i) => ({ name, kg: columns["/carbon/total_kgco2e/value"][i] }))
    .filter((row) => row.kg !== null).sort((a, b) => a.kg - b.kg);
  const shown = rows.length > 16 ? [...rows.slice(0, 8), ...rows.slice(-6)] : rows;
  const own = rows.find((row) => row.name === chosen);
  if (own && !shown.includes(own)) shown.splice(8, 0, own);
  const element = frame(section, `Emissions by region; ${rows.length} regions ranked`);
  draw(element, [{
    type: "bar", orientation: "h", y: shown.map((row) => row.name), x: shown.map((row) => row.kg / 1000),
    marker: { color: shown.map((row) => row.name === chosen ? "#e0862d" : "#3aa17e") },
    hovertemplate: "%{y}: %{x:.3g} t<extra></extra>",
  }], { height: 40 + 24 * shown.length, xaxis: { title: { text: "t CO2e, location-based and embodied" } }, yaxis: { autorange: "reversed" } });
  section.append(table(["region", "emissions"], rows.map((row) => [row.name === chosen ? `${row.name} (chosen)` : row.name, kilograms(row.kg)])));
}

export function isoflop(section, found, point) {
  const curve = found.curve;
  const element = frame(section, "Loss against size at the same compute, with this model's point");
  const traces = [{ x: curve.parameters, y: curve.loss, mode: "lines", name: "same compute", hovertemplate: "%{x:.3s} parameters: %{y:.3f} nats<extra></extra>" }];
  traces.push({ x: [found.optimum.parameters.value], y: [found.optimum.loss ? found.optimum.loss.value : null], mode: "markers", name: "optimum", marker: { size: 10, symbol: "diamond" } });
  if (point) traces.push({ x: [point.parameters], y: [point.loss], mode: "markers", name: "this model", marker: { size: 11, color: style("--bad") } });
  draw(element, traces, { height: 300, xaxis: { type: "log", title: { text: "parameters" } }, yaxis: { title: { text: "loss, nats a token" } } });
  const step = Math.max(1, Math.floor(curve.parameters.length / 12));
  section.append(table(["parameters", "tokens", "loss"], curve.parameters.map((n, i) => [count(n), count(curve.tokens[i]), curve.loss[i].toFixed(4)]).filter((_, i) => i % step === 0)));
}
