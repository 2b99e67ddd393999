"use strict";
// The live page: events bring what is new in a RUN folder, and what has come so far is drawn.

function watch() {
  const byId = (id) => document.getElementById(id);
  const AGAIN = 1000; // [ms] after which a refused page asks again
  let rows = [];
  let columns = [];
  let facts = null;
  let lost = false;
  let charts = {};
  let signals = { names: "", charts: [] };

  connect();
  setInterval(age, 1000);
  document.addEventListener("visibilitychange", draw);
  document.documentElement.classList.add("live");

  function connect() {
    const source = new EventSource("/events");
    source.addEventListener("message", (event) => {
      const said = JSON.parse(event.data);
      if (said.from && said.from !== rows.length) {
        source.close(); // what came before is not here: begin anew, with all of it
        connect();
        return;
      }
      rows = [...(said.from ? rows : []), ...said.rows.map((row) => row.map((value) => value ?? NaN))];
      [columns, facts, lost] = [said.columns, said.facts, false];
      draw();
    });
    source.addEventListener("open", () => {
      lost = false;
      notice();
    });
    source.addEventListener("error", () => {
      lost = true;
      notice();
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, AGAIN); // else it comes again by itself
    });
  }

  function put(id, text) {
    if (byId(id).textContent !== text) byId(id).textContent = text; // what is the same is not read out again
  }

  function notice() {
    const gone = "The connection to scpo-ctrl watch is lost; this page tries again. What is shown is what was there before.";
    put("notice", lost ? gone : (facts?.trouble ?? ""));
  }

  function age() {
    const seconds = facts?.saved ? Math.max(0, Math.round(Date.now() / 1000 - facts.saved)) : null;
    const [minutes, hours] = [Math.round(seconds / 60), Math.round(seconds / 3600)];
    const long = seconds < 120 ? `${seconds} s` : minutes < 120 ? `${minutes} min` : `${hours} h`;
    byId("saved").textContent = seconds === null ? "" : `Saved ${long} ago.`;
  }

  function draw() {
    if (!facts || document.hidden) return;
    notice();
    age();
    document.title = `${facts.word} – ${facts.title ?? "scpo-ctrl watch"}`;
    put("title", facts.title ?? "A run");
    put("folder", facts.folder);
    byId("headline").className = `headline ${facts.level}`;
    put("word", facts.word);
    put("sentence", facts.sentence);
    put("advice", facts.advice ?? "");
    put("version", facts.version ? `Written by scpo-ctrl ${facts.version}.` : "");
    const bar = byId("progress");
    bar.hidden = !facts.total;
    bar.max = facts.total || 1;
    bar.value = facts.done ?? 0;
    tiles(facts.tiles ?? []);
    for (const [id, plain] of [
      ["rejected", 3],
      ["nearest", 3],
      ["parameters", 2],
    ])
      table(id, facts[id] ?? [], plain);
    steps();
    samples(facts.samples);
  }

  function tiles(said) {
    byId("tiles").hidden = !said.length;
    byId("tiles").replaceChildren();
    for (const { question, parts, said: rest } of said) {
      const box = add(byId("tiles"), "div");
      add(box, "dt", {}, question);
      const answer = add(box, "dd");
      for (const part of parts) {
        add(answer, "span", {}, part);
        answer.append(" ");
      }
      add(answer, "small", {}, rest);
    }
  }

  // The first `plain` columns are words, the others numbers.
  function table(id, lines, plain) {
    byId(id).hidden = !lines.length;
    const body = byId(id).querySelector("tbody");
    body.replaceChildren();
    for (const line of lines) {
      const row = add(body, "tr");
      line.forEach((text, k) => {
        if (k) add(row, "td", k < plain ? {} : { class: "number" }, text);
        else add(row, "th", { scope: "row" }, text);
      });
    }
  }

  function steps() {
    for (const id of ["convergence", "steps"]) byId(id).hidden = !rows.length;
    if (!rows.length) {
      charts = {};
      for (const id of ["convergence-charts", "steps-charts"]) byId(id).replaceChildren();
      return;
    }
    const read = columns.map((name, k) => [name, rows.map((row) => row[k])]);
    const history = { ...facts, ...Object.fromEntries(read) };
    legend(history);
    const options = { span: [-0.02 * history.count, 1.02 * history.count], pick: () => {} };
    const [first, second] = [byId("convergence-charts"), byId("steps-charts")];
    const label = `tried step (0: the ${history.start})`;
    const tried = (chart) => ({ ...options, chart, label });
    const { start } = history;
    const column = (chart, title, of, levels) =>
      columnChart(second, history, title, of, { ...tried(chart), levels, height: 140 });
    charts = {
      objective: objectiveChart(first, history, start, tried(charts.objective)),
      margin: marginChart(first, history, start, tried(charts.margin)),
      stationarity: column(
        charts.stationarity,
        "stationarity",
        [{ kind: "after", name: "stationarity", values: history.stationarity }],
        [{ value: history.tolerance || null, name: "tolerance: converged at or below" }],
      ),
      length: column(
        charts.length,
        "length of the projected step ‖Δ‖",
        [{ kind: "after", name: "‖Δ‖", values: history.delta_norm }],
        [{ value: history.radius, name: "radius r" }],
      ),
      smoothness: column(charts.smoothness, "smoothness constants L, largest and median (grey)", [
        { kind: "before", name: "median L", values: history.smoothness_median },
        { kind: "after", name: "largest L", values: history.smoothness_max },
      ]),
      active: column(charts.active, "active constraints", [
        { kind: "after", name: "active constraints", values: history.active },
      ]),
    };
    for (const chart of Object.values(charts)) chart.linked = Object.values(charts);
  }

  function legend({ verdicts, counts }) {
    byId("legend").replaceChildren();
    verdicts.forEach((name, verdict) => {
      if (counts[verdict]) legendKey(byId("legend"), verdict, `${name} (${counts[verdict]})`);
    });
  }

  function samples(of) {
    const shows = Boolean(of && of.signals.length && of.t.length);
    byId("samples").hidden = !shows;
    const host = byId("samples-charts");
    const names = shows ? JSON.stringify(of.signals.map(titleOf)) : "";
    if (names !== signals.names) {
      host.replaceChildren();
      signals = { names, charts: [] };
    }
    if (!shows) return;
    put("samples-said", of.said);
    signals.charts = of.signals.map((signal, i) => signalChart(host, of, signal, signals.charts[i]));
    for (const chart of signals.charts) chart.linked = signals.charts;
  }

  function signalChart(host, { t, time, acted }, signal, chart) {
    const values = signal.values.map((value) => value ?? NaN);
    const ends = [signal.low, signal.high].filter((bound) => bound !== null);
    const [low, high] = range(values);
    const near = ends.filter((bound) => bound > low - 2 * (high - low) && bound < high + 2 * (high - low));
    const view = { x: [t[0], Math.max(t.at(-1), t[0] + 1e-9)], y: range([...values, ...near]) };
    const made = charted(host, { chart, title: titleOf(signal), label: time, view });
    const label = (k) => `${signal.name} ${shown(values[k])}${unitOf(signal)} at ${shown(t[k])}`;
    made.show(
      {
        areas: outside("y", signal),
        lines: [{ kind: "after", x: t, y: values, held: signal.is_input, label }],
        marks: acted.map((k) => ({
          kind: "mark taken",
          shape: "cross",
          x: t[k],
          y: values[k],
          label: () => `${label(k)}: the backup took over`,
        })),
      },
      `${titleOf(signal)} over ${t.length} samples, ${acted.length} of them the backup's`,
    );
    return made;
  }
}

watch();
