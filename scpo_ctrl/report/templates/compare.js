"use strict";
// Objective and margin of several runs over their tried steps; a click on a line, or its name, makes its run stand out.

function compare(runs) {
  const host = document.querySelector("[data-live]");
  const histories = runs.map((run) => decodedHistory(run.history));
  const most = Math.max(...histories.map(({ count }) => count));
  let chosen = null;
  const panels = ["objective", "margin"].map((column) => panel(column));
  for (const { chart } of panels) chart.linked = panels.map((one) => one.chart);
  for (const button of document.querySelectorAll("[data-run]")) {
    button.disabled = !runs.some(({ place }) => place === Number(button.dataset.run));
    button.addEventListener("click", () => choose(Number(button.dataset.run)));
  }
  update();

  function panel(column) {
    const paths = histories.map((history) => stairs(history[`${column}_initial`], history, history[column]));
    const every = paths.flatMap(({ y }) => y);
    const scale = column === "margin" ? marginScale(every) : logarithmicWherePositive(every);
    const y = range([...(column === "margin" ? [0] : []), ...every.map(scale.to)]);
    const title =
      column === "margin"
        ? "margin −max g of committed policies (unsafe below 0)"
        : "objective ℓ of committed policies";
    const view = { x: [-0.02 * most, 1.02 * most], y };
    return {
      column,
      paths,
      scale,
      title,
      chart: new Chart(host, { title, label: "tried step (0: the safe start)", y: scale, view, height: 260, pick }),
    };
  }

  function pick(line) {
    if (line) choose(line.of);
  }

  function choose(place) {
    chosen = chosen === place ? null : place;
    update();
  }

  function update() {
    for (const button of document.querySelectorAll("[data-run]")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.run) === chosen));
    }
    for (const { column, paths, scale, title, chart } of panels) {
      const lines = runs.map(({ place, name }, k) => ({
        kind: `run run-${place % 6}${chosen === null ? "" : chosen === place ? " chosen" : " dim"}`,
        of: place,
        held: true,
        x: paths[k].x,
        y: paths[k].y.map(scale.to),
        label: (index) => `${name}, tried step ${paths[k].x[index]}: ${column} ${shown(paths[k].y[index])}`,
      }));
      const areas = column === "margin" ? [{ kind: "forbidden", x: [-Infinity, Infinity], y: [-Infinity, 0] }] : [];
      chart.show({ areas, lines }, `${title}, ${runs.length} runs`);
    }
  }
}

const compared = JSON.parse(document.getElementById("explored").textContent);
if (compared.length) {
  compare(compared);
  document.querySelector("[data-live]").closest("section").classList.add("explored");
  document.documentElement.classList.add("live");
}
