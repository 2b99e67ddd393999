"use strict";
// The page's charts and its three controls: committed step, scenario, before and after.

class Exploration {
  constructor(data) {
    this.start = data.start;
    this.history = decodedHistory(data.history);
    this.loop = data.loop && decodedLoop(data.loop);
    this.state = { step: this.loop ? this.loop.tried.length - 1 : 0, scenario: null, shows: "both" };
    this.charts = { history: [], time: [], portraits: [], margins: null };
    this.drawCharts();
    if (this.loop) {
      this.connect();
      this.connectTable();
      this.update();
    }
  }

  drawCharts() {
    const host = (name) => document.querySelector(`[data-live="${name}"]`);
    const { charts, history, loop } = this;
    const hosts = { convergence: host("convergence"), smoothness: host("smoothness") };
    charts.history = historyCharts(hosts, history, this.start, (x) => this.pickStep(x));
    if (!loop) return;
    const on = { hover: (line, index) => this.hover(line, index), pick: (line) => this.pick(line) };
    charts.portraits = loop.portraits.map((one) => portraitChart(host("phase"), loop, one, on));
    charts.time = timeCharts({ signals: host("signals"), limits: host("limits") }, loop, on);
    if (loop.tried.length > 1)
      charts.margins = scenarioMargins(hosts.convergence, loop, charts.history, { ...on, hover: () => {} });
  }

  // The moment under the pointer, marked in every chart of the loop.
  hover(line, index) {
    const { charts, loop } = this;
    const sides = line && line.of !== undefined ? shownSides(this.state) : [];
    const dot = ([k, kind], x, y) => ({ kind, x: x(k), y: y(k) });
    const value = (signal) => (k) => loop.values(k, signal, line.of)[index];
    const moment = () => loop.t[index];
    for (const { chart, signal } of charts.time) {
      const dots = signal === null ? [] : sides.map((side) => dot(side, moment, value(signal)));
      chart.cursor = { x: sides.length ? moment() : null, dots };
      chart.point();
    }
    for (const { chart, signals } of charts.portraits) {
      chart.cursor.dots = sides.map((side) => dot(side, ...signals.map(value)));
      chart.point();
    }
  }

  pick(line) {
    if (line && line.of !== undefined) this.choose(line.of === this.state.scenario ? null : line.of);
  }

  pickStep(x) {
    if (!this.loop) return;
    const away = this.loop.tried.map((row) => Math.abs(row - x));
    this.set({ step: away.indexOf(Math.min(...away)) });
  }

  choose(scenario) {
    this.set({ scenario });
  }

  set(change) {
    Object.assign(this.state, change);
    this.update();
  }

  connect() {
    const { loop } = this;
    const [slider, select] = [document.getElementById("explore-step"), document.getElementById("explore-scenario")];
    slider.max = loop.tried.length - 1;
    slider.addEventListener("input", () => this.set({ step: Number(slider.value) }));
    loop.scenarios.forEach((name, s) => add(select, "option", { value: s }, name));
    select.addEventListener("change", () => this.choose(select.value === "" ? null : Number(select.value)));
    for (const button of document.querySelectorAll('[name="explore-shows"]')) {
      button.addEventListener("change", () => this.set({ shows: button.value }));
    }
    const every = loop.t.length > 1 ? Math.round((loop.t[1] - loop.t[0]) / loop.hold) : 1;
    document.getElementById("explore-shown").textContent =
      `Shown are ${loop.numbers.length} scenarios, half of them the closest to a bound, guards of the audits ` +
      `among them, at ${loop.tried.length} committed policies${every > 1 ? `, about one time step in ${every}` : ""}.`;
  }

  // A button beside each scenario of the closest metrics that is among those shown.
  connectTable() {
    for (const row of document.querySelectorAll("[data-scenario]")) {
      const s = this.loop.numbers.indexOf(Number(row.dataset.scenario));
      if (s >= 0)
        add(row, "button", { type: "button", class: "choose" }, "show").addEventListener("click", () => {
          this.choose(s);
          document.getElementById("explore").scrollIntoView({ block: "start" });
        });
    }
  }

  update() {
    const { charts, history, loop, state } = this;
    const row = loop.tried[state.step];
    const last = state.step === loop.tried.length - 1;
    const where = triedText(history, this.start, history.tried.indexOf(row));
    document.getElementById("explore-step").value = state.step;
    document.getElementById("explore-scenario").value = state.scenario ?? "";
    document.getElementById("explore-step").setAttribute("aria-valuetext", where);
    document.getElementById("explore-where").textContent = where + (last && row ? " (final)" : "");
    for (const one of [...charts.portraits, ...charts.time]) one.update(state);
    if (charts.margins) charts.margins.update(state);
    for (const chart of charts.history) {
      chart.cursor.x = row;
      chart.point();
    }
  }
}

function decodedLoop(of) {
  const [S, T, n] = [of.numbers.length, of.t.length, of.signals.length];
  const values = decoded(of.values);
  const margins = decoded(of.margins);
  return {
    ...of,
    margin: (k, s) => margins[k * S + s],
    values: (k, i, s) => values.subarray(((k * n + i) * S + s) * T, ((k * n + i) * S + s + 1) * T),
    portraits: of.portraits.map((one) => ({ ...one, ring: decoded(one.ring) })),
    given: of.given.map((one) => ({ ...one, all: decoded(one.values) })),
  };
}

// The policies that are shown: the place of each among the committed ones, and what it is called.
function shownSides({ step, shows }) {
  return [
    [0, "before"],
    [step, "after"],
  ].filter(([, side]) => shows === "both" || shows === side);
}

// Lines of every scenario before and at the chosen step; the chosen scenario stands out.
function loopLines(loop, state, coordinates, held, name) {
  const scenarios = loop.numbers.map((_, s) => s);
  scenarios.sort((a, b) => (a === state.scenario) - (b === state.scenario)); // the chosen one on top
  return shownSides(state).flatMap(([k, side]) =>
    scenarios.map((s) => ({
      kind: side + (state.scenario === null ? "" : s === state.scenario ? " chosen" : " dim"),
      of: s,
      held,
      ...coordinates(k, s),
      label: (index) => `${loop.scenarios[s].split(":")[0]}, ${side}: ${name(k, s, index)}`,
    })),
  );
}

function portraitChart(host, loop, { signals: [i, j], views, ring }, on) {
  const [a, b] = [loop.signals[i], loop.signals[j]];
  const title = `${titleOf(b)} against ${titleOf(a)}`;
  const chart = new Chart(host, { title, label: titleOf(a), view: { x: views[0], y: views[1] }, height: 340, ...on });
  const points = { x: ring.filter((_, k) => k % 2 === 0), y: ring.filter((_, k) => k % 2 === 1) };
  const areas = [{ kind: "level", points }, ...outside("x", a), ...outside("y", b)];
  const named = (k, s, t) =>
    [a, b].map((one, n) => `${one.name} ${shown(loop.values(k, [i, j][n], s)[t])}${unitOf(one)}`).join(", ");
  return {
    chart,
    signals: [i, j],
    update(state) {
      const lines = loopLines(
        loop,
        state,
        (k, s) => ({ x: loop.values(k, i, s), y: loop.values(k, j, s) }),
        false,
        (k, s, t) => `t = ${shown(loop.t[t])}, ${named(k, s, t)}`,
      );
      const starts = loop.numbers.map((_, s) => ({
        kind: "initial",
        x: loop.values(0, i, s)[0],
        y: loop.values(0, j, s)[0],
      }));
      chart.show(
        { areas, lines, marks: [...starts, { kind: "rest", shape: "star", x: a.rest, y: b.rest }] },
        saidOf(title, loop, state),
      );
    },
  };
}

function saidOf(title, loop, state) {
  const shows = {
    both: `before and after tried step ${loop.tried[state.step]}`,
    before: "before",
    after: `after tried step ${loop.tried[state.step]}`,
  };
  const which = state.scenario === null ? `${loop.numbers.length} scenarios` : loop.scenarios[state.scenario];
  return `${title}, ${shows[state.shows]}, ${which}`;
}

function timeCharts(hosts, loop, on) {
  const view = [loop.t[0], loop.t.at(-1)];
  const charts = loop.signals.map((signal, i) => {
    const host = signal.kind === "constraint" ? hosts.limits : hosts.signals;
    const chart = new Chart(host, {
      title: titleOf(signal),
      label: loop.time,
      view: { x: view, y: signal.view },
      ...on,
    });
    const levels = [signal.low, signal.high]
      .filter((bound) => bound !== null)
      .map((bound) => ({ kind: "limit", x: [-1e9, 1e9], y: [bound, bound] }));
    const rest = { kind: "level-line", x: [-1e9, 1e9], y: [signal.rest, signal.rest] };
    return {
      chart,
      signal: i,
      update(state) {
        const lines = loopLines(
          loop,
          state,
          (k, s) => ({ x: loop.t, y: loop.values(k, i, s) }),
          signal.kind === "input",
          (k, s, t) => `${signal.name} ${shown(loop.values(k, i, s)[t])}${unitOf(signal)} at t = ${shown(loop.t[t])}`,
        );
        const given = loop.given.filter((one) => one.of === i).flatMap((one) => givenLines(loop, one, state));
        chart.show(
          { areas: outside("y", signal), lines: [rest, ...levels, ...given, ...lines] },
          saidOf(`${titleOf(signal)} over time, ${rangeOf(loop, i, state)}`, loop, state),
        );
      },
    };
  });
  for (const one of loop.given.filter(({ of }) => of === null)) {
    const chart = new Chart(hosts.signals, {
      title: `${titleOf(one)}, given`,
      label: loop.time,
      view: { x: view, y: one.view },
      height: 120,
      ...on,
    });
    charts.push({
      chart,
      signal: null,
      update: (state) => chart.show({ lines: givenLines(loop, one, state) }, `${titleOf(one)} over time, given`),
    });
  }
  for (const { chart } of charts) chart.linked = charts.map((one) => one.chart);
  return charts;
}

function rangeOf(loop, i, state) {
  const values = loop.numbers.flatMap((_, s) =>
    (state.scenario ?? s) === s ? Array.from(loop.values(state.step, i, s)).filter(Number.isFinite) : [],
  );
  return values.length
    ? `from ${shown(Math.min(...values))} to ${shown(Math.max(...values))}`
    : "without a finite value";
}

function givenLines(loop, { all }, state) {
  const T = loop.t.length;
  return loop.numbers.map((_, s) => ({
    kind: `given${state.scenario === null || state.scenario === s ? "" : " dim"}`,
    x: loop.t,
    y: all.subarray(s * T, (s + 1) * T),
    held: true,
  }));
}

// The least distance of each scenario to a bound, at the committed steps that are shown.
function scenarioMargins(host, loop, linked, on) {
  const every = loop.numbers.map((_, s) => loop.tried.map((_row, k) => loop.margin(k, s)));
  const scale = marginScale(every.flat());
  const view = { x: linked[0].home.x, y: range([0, ...every.flat().map(scale.to)]) };
  const title = "least distance to a bound, by scenario [% of the bound]";
  const chart = new Chart(host, { title, label: "tried step", y: scale, view, ...on });
  chart.linked = linked;
  linked.push(chart);
  return {
    update(state) {
      const lines = every.map((values, s) => ({
        kind: `after${state.scenario === null ? " thin" : s === state.scenario ? " chosen" : " dim"}`,
        of: s,
        x: loop.tried,
        y: values.map(scale.to),
        label: (k) => `${loop.scenarios[s].split(":")[0]} at tried step ${loop.tried[k]}: ${shown(values[k])} %`,
      }));
      chart.show(
        { areas: [{ kind: "forbidden", x: [-Infinity, Infinity], y: [-Infinity, 0] }], lines },
        `${title}, at ${loop.tried.length} committed policies`,
      );
    },
  };
}

const explored = JSON.parse(document.getElementById("explored").textContent);
if (explored) {
  new Exploration(explored);
  for (const host of document.querySelectorAll("[data-live]")) {
    host.closest("section").classList.toggle("explored", host.firstChild !== null);
  }
  document.documentElement.classList.add("live");
}
