"use strict";
// Objective, margin and what held the steps back, over tried steps.

const SHAPES = ["circle", "cross", "down", "star", "bar", "circle"]; // of the verdicts

// Stairs of the committed values, from the safe start at 0 to the last tried step.
function stairs(first, history, values) {
  const [x, y] = [[0], [first]];
  history.tried.forEach((row, k) => {
    if (history.verdict[k] === 0) {
      x.push(row);
      y.push(values[k]);
    }
  });
  return { x: [...x, history.count], y: [...y, y.at(-1)] };
}

function decodedHistory(history) {
  const columns = [
    "objective",
    "margin",
    "stationarity",
    "verdict",
    "active",
    "smoothness_max",
    "smoothness_median",
    "delta_norm",
  ];
  return { ...history, ...Object.fromEntries(columns.map((name) => [name, decoded(history[name])])) };
}

// A scale on both sides of zero that shows the least margin, nine decades at most.
function marginScale(values) {
  const sizes = values.map(Math.abs).filter((size) => size > 0 && Number.isFinite(size));
  const [least, most] = sizes.length ? [Math.min(...sizes), Math.max(...sizes)] : [1, 1];
  return bothSides(10 ** Math.floor(Math.log10(Math.max(least, most * 1e-9))));
}

function logarithmicWherePositive(values) {
  const positive = values.filter((value) => value > 0 && Number.isFinite(value));
  return positive.length && Math.max(...positive) > 30 * Math.min(...positive) ? LOGARITHMIC : LINEAR;
}

function triedText(history, start, k) {
  if (k < 0) return `${start}: objective ${shown(history.objective_initial)}, margin ${shown(history.margin_initial)}`;
  const said = history.verdicts[history.verdict[k]];
  const numbers = `objective ${shown(history.objective[k])}, margin ${shown(history.margin[k])}`;
  return `tried step ${history.tried[k]}, ${said}: ${numbers}`;
}

function objectiveChart(host, history, start, options) {
  const path = stairs(history.objective_initial, history, history.objective);
  const scale = logarithmicWherePositive(path.y);
  const to = (values) => Array.from(values, scale.to);
  const y = range(to(path.y));
  const chart = charted(host, { title: "objective ℓ", y: scale, view: { x: options.span, y }, ...options });
  const inside = (value) => Math.min(y[1], Math.max(y[0], Number.isFinite(value) ? value : y[1]));
  chart.show(
    {
      lines: [{ kind: "after stairs", x: path.x, y: to(path.y), held: true }],
      marks: marksOf(
        history,
        start,
        (k) => inside(scale.to(history.objective[k])),
        scale.to(history.objective_initial),
      ),
    },
    `Objective over ${history.count} tried steps, from ${shown(path.y[0])} to ${shown(path.y.at(-1))}`,
  );
  return chart;
}

function marginChart(host, history, start, options) {
  const path = stairs(history.margin_initial, history, history.margin);
  const scale = marginScale([...history.margin, history.margin_initial]);
  const to = (values) => Array.from(values, scale.to);
  const y = range([0, ...to(path.y), ...to(history.margin)]);
  const chart = charted(host, {
    title: "margin −max g (unsafe below 0)",
    y: scale,
    view: { x: options.span, y },
    ...options,
  });
  const inside = (k) => (Number.isFinite(history.margin[k]) ? scale.to(history.margin[k]) : y[0]);
  chart.show(
    {
      areas: [{ kind: "forbidden", x: [-Infinity, Infinity], y: [-Infinity, 0] }],
      lines: [
        { kind: "limit", x: [-1e9, 1e9], y: [0, 0] },
        { kind: "after stairs", x: path.x, y: to(path.y), held: true },
      ],
      marks: marksOf(history, start, inside, scale.to(history.margin_initial)),
    },
    `Margin over ${history.count} tried steps; the least of a committed policy is ${shown(Math.min(...path.y))}`,
  );
  return chart;
}

function marksOf(history, start, place, first) {
  const kinds = history.tried.map((row, k) => {
    const verdict = history.verdict[k];
    return {
      kind: `mark verdict-${verdict}`,
      shape: SHAPES[verdict],
      x: row,
      y: place(k),
      label: () => triedText(history, start, k),
    };
  });
  return [
    ...kinds,
    { kind: "mark start", shape: "square", x: 0, y: first, label: () => triedText(history, start, -1) },
  ];
}

// What the marks mean, and how many there are of each.
function legendOf(host, history) {
  const legend = add(host, "p", { class: "legend" });
  history.verdicts.forEach((name, verdict) => {
    const count = history.verdict.filter((one) => one === verdict).length;
    if (!count) return;
    legendKey(legend, verdict, `${name} (${count})`);
  });
}

function legendKey(legend, verdict, text) {
  const key = add(legend, "span");
  const mark = add(key, "svg", { viewBox: "-7 -7 14 14", "aria-hidden": "true" });
  drawMark(mark, `mark verdict-${verdict}`, SHAPES[verdict], 0, 0);
  key.append(text);
}

function columnChart(host, history, title, columns, options) {
  const scale = logarithmicWherePositive(columns.flatMap(({ values }) => [...values]));
  const levels = (options.levels ?? []).filter(({ value }) => value !== null && scale.to(value) === scale.to(value));
  const lines = columns.map(({ kind, name, values }) => ({
    kind,
    x: history.tried,
    y: Array.from(values, scale.to),
    label: (k) => `tried step ${history.tried[k]}: ${name} ${shown(values[k])}`,
  }));
  const y = range([...lines.flatMap((line) => line.y), ...levels.map(({ value }) => scale.to(value))]);
  const chart = charted(host, { title, y: scale, view: { x: options.span, y }, ...options });
  const guides = levels.map(({ value, name }) => ({
    kind: "limit",
    x: [0, history.count],
    y: [scale.to(value), scale.to(value)],
    label: () => `${name} ${shown(value)}`,
  }));
  chart.show({ lines: [...guides, ...lines] }, `${title} over ${history.count} tried steps`);
  return chart;
}

// The charts of a history in two hosts, linked by their x axis; pick is told which tried step was clicked.
function historyCharts(hosts, history, start, pick) {
  if (!history.count) return [];
  const options = { span: [-0.02 * history.count, 1.02 * history.count], pick: (_mark, _index, x) => pick(x) };
  const x = { label: `tried step (0: the ${start})` };
  const charts = [];
  if (hosts.convergence) {
    charts.push(objectiveChart(hosts.convergence, history, start, { ...options }));
    charts.push(marginChart(hosts.convergence, history, start, { ...options }));
    legendOf(hosts.convergence, history);
    const stationarity = [{ kind: "after", name: "stationarity", values: history.stationarity }];
    const levels = [{ value: history.tolerance || null, name: "tolerance: converged at or below" }];
    charts.push(
      columnChart(hosts.convergence, history, "stationarity", stationarity, { ...options, ...x, levels, height: 140 }),
    );
  }
  if (hosts.smoothness) {
    const one = (title, columns, levels = []) =>
      charts.push(columnChart(hosts.smoothness, history, title, columns, { ...options, levels, height: 130 }));
    one("active constraints", [{ kind: "after", name: "active constraints", values: history.active }]);
    one("smoothness constants L, largest and median (grey)", [
      { kind: "before", name: "median L", values: history.smoothness_median },
      { kind: "after", name: "largest L", values: history.smoothness_max },
    ]);
    one(
      "length of the projected step ‖Δ‖",
      [{ kind: "after", name: "‖Δ‖", values: history.delta_norm }],
      [{ value: history.radius, name: "radius r" }],
    );
  }
  for (const chart of charts) chart.linked = charts;
  return charts;
}
