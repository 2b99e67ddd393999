"use strict";
// A chart in SVG: lines, areas and marks; values on hovering, zoom by dragging, by buttons and by keys.

const SVG = Object.assign(document.createElement("div"), { innerHTML: "<svg/>" }).firstChild.namespaceURI;
const EDGE = { left: 58, right: 12, top: 8, bottom: 24 }; // [px]
const NEAR = 48; // [px], farther from the pointer nothing is named
const DRAG = 6; // [px], less is a click
let chartCount = 0;

function add(parent, name, attributes = {}, text = "") {
  const node =
    parent.namespaceURI === SVG || name === "svg" ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text) node.textContent = text;
  parent.append(node);
  return node;
}

function decoded(text) {
  return new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
}

function power(exponent) {
  return (
    "10" +
    String(exponent)
      .replace("-", "⁻")
      .replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit])
  );
}

// A number for reading: a few digits, a true minus, powers of ten.
function shown(value, digits = 4) {
  if (!Number.isFinite(value)) return "not a number";
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  const plain = exponent >= -4 && exponent < Math.max(digits, 5);
  const text = plain
    ? String(Number(value.toPrecision(digits)))
    : `${Number(mantissa)}\u202f×\u202f${power(Number(exponent))}`;
  return text.replace(/^-/, "−");
}

function evenTicks(low, high, most) {
  const rough = (high - low) / most || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * unit >= rough) * unit;
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first;
  return Array.from({ length: Math.max(0, count) + 1 }, (_, k) => (first + k) * step);
}

function thinned(values, most) {
  const every = Math.max(1, Math.ceil(values.length / most));
  return values.filter((_, k) => k % every === 0);
}

// A scale takes values to places on an axis (to), and names places (ticks: [place, text]); its own name says which it is.
const LINEAR = {
  name: "linear",
  to: (value) => value,
  ticks: (low, high, most) => evenTicks(low, high, most).map((value) => [value, shown(value)]),
};
const LOGARITHMIC = {
  name: "logarithmic",
  to: (value) => (value > 0 ? Math.log10(value) : NaN),
  ticks: (low, high, most) => {
    const decades = evenTicks(Math.ceil(low), high, most).filter(Number.isInteger);
    return decades.length > 1
      ? decades.map((k) => [k, power(k)])
      : evenTicks(low, high, most).map((k) => [k, shown(10 ** k, 3)]);
  },
};
// Logarithmic on both sides of zero, linear within the least size.
function bothSides(least) {
  const to = (value) => Math.sign(value) * Math.log10(1 + Math.abs(value) / least);
  const exponent = Math.round(Math.log10(least));
  const decades = Array.from({ length: 40 }, (_, k) => exponent + k + 1);
  return {
    name: `both sides of ${least}`,
    to,
    ticks: (low, high, most) => {
      const inside = (places) => places.filter(([place]) => place >= low && place <= high);
      const above = inside(decades.map((k) => [to(10 ** k), power(k)]));
      const below = inside(decades.map((k) => [to(-(10 ** k)), "−" + power(k)]));
      const each = Math.max(2, Math.floor(most / ((above.length > 0) + (below.length > 0) || 1)));
      return [...inside([[0, "0"]]), ...thinned(above, each), ...thinned(below, each)];
    },
  };
}

function range(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) if (Number.isFinite(value)) [low, high] = [Math.min(low, value), Math.max(high, value)];
  if (low > high) return [0, 1];
  const pad = 0.06 * (high - low) || 0.5 * Math.abs(high) || 0.5;
  return [low - pad, high + pad];
}

const SHAPE = {
  cross: "m-4-4l8 8m0-8l-8 8",
  down: "m-4-3h8l-4 7z",
  bar: "m0-5v10",
  star: "m-5 0h10m-5-5v10",
  square: "m-4-4h8v8h-8z",
};

function drawMark(parent, kind, shape, left, top) {
  if (shape in SHAPE) add(parent, "path", { class: kind, d: `M${left} ${top}${SHAPE[shape]}` });
  else add(parent, "circle", { class: kind, cx: left, cy: top, r: 2.5 });
}

// A chart in a host, or `options.chart`, an earlier one, with what these options say.
function charted(host, { chart, ...options }) {
  if (!chart) return new Chart(host, options);
  chart.renew(options);
  return chart;
}

class Chart {
  // options: title, label (of the x axis), x and y (scales), view {x, y}, height,
  // hover(line, index) and pick(line, index), called with null where nothing is near.
  constructor(host, options) {
    this.options = { x: LINEAR, y: LINEAR, height: 170, hover: () => {}, pick: () => {}, ...options };
    this.home = { x: [...options.view.x], y: [...options.view.y] };
    this.view = { x: [...options.view.x], y: [...options.view.y] };
    this.content = { areas: [], lines: [], marks: [] };
    this.cursor = { x: null, dots: [] };
    this.linked = [this]; // charts with the same x axis
    this.box = add(host, "div", { class: "chart", role: "group", "aria-label": options.title });
    const head = add(this.box, "div", { class: "chart-head" });
    add(head, "span", { class: "chart-title" }, options.title);
    for (const [sign, name, act] of [
      ["+", "Zoom in", () => this.zoom(0.6)],
      ["−", "Zoom out", () => this.zoom(1 / 0.6)],
      ["↺", "Whole view", () => this.reset()],
    ]) {
      add(
        head,
        "button",
        { type: "button", title: name, "aria-label": `${name}: ${options.title}` },
        sign,
      ).addEventListener("click", act);
    }
    this.svg = add(this.box, "svg", { role: "img", tabindex: 0 });
    this.tip = add(this.box, "div", { class: "tip", hidden: "" });
    this.clip = `clip-${(chartCount += 1)}`;
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  // Take other scales and ranges; what somebody has zoomed into stays in view.
  renew(options) {
    const chosen = (axis) => this.view[axis].some((end, k) => end !== this.home[axis][k]);
    const same = (options.y ?? LINEAR).name === this.options.y.name;
    const view = { x: chosen("x") ? this.view.x : options.view.x, y: chosen("y") && same ? this.view.y : options.view.y };
    Object.assign(this.options, options);
    this.home = { x: [...options.view.x], y: [...options.view.y] };
    this.view = { x: [...view.x], y: [...view.y] };
  }

  show(content, said) {
    this.content = { areas: [], lines: [], marks: [], ...content };
    this.svg.setAttribute("aria-label", said);
    this.draw();
  }

  place(x, y) {
    const {
      x: [x0, x1],
      y: [y0, y1],
    } = this.view;
    const [wide, high] = [this.width - EDGE.left - EDGE.right, this.height - EDGE.top - EDGE.bottom];
    return [EDGE.left + ((x - x0) / (x1 - x0)) * wide, EDGE.top + ((y1 - y) / (y1 - y0)) * high];
  }

  value(left, top) {
    const {
      x: [x0, x1],
      y: [y0, y1],
    } = this.view;
    const [wide, high] = [this.width - EDGE.left - EDGE.right, this.height - EDGE.top - EDGE.bottom];
    return [x0 + ((left - EDGE.left) / wide) * (x1 - x0), y1 - ((top - EDGE.top) / high) * (y1 - y0)];
  }

  draw() {
    this.width = Math.max(200, this.box.clientWidth);
    this.height = this.options.height + (this.options.label ? 18 : 0);
    this.svg.replaceChildren();
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.svg.setAttribute("height", this.height);
    const frame = {
      x: EDGE.left,
      y: EDGE.top,
      width: this.width - EDGE.left - EDGE.right,
      height: this.options.height - EDGE.top - EDGE.bottom,
    };
    this.height = this.options.height;
    add(add(add(this.svg, "defs"), "clipPath", { id: this.clip }), "rect", frame);
    this.axes(frame);
    const inside = add(this.svg, "g", { "clip-path": `url(#${this.clip})` });
    for (const area of this.content.areas) this.area(inside, area);
    for (const line of this.content.lines) add(inside, "path", { class: line.kind, d: this.path(line) });
    for (const mark of this.content.marks) this.mark(inside, mark);
    this.over = add(this.svg, "g");
    this.point();
  }

  axes(frame) {
    const grid = add(this.svg, "g", { class: "axis" });
    const [bottom, right] = [frame.y + frame.height, frame.x + frame.width];
    for (const [at, text] of this.options.x.ticks(...this.view.x, Math.max(2, frame.width / 90))) {
      const [x] = this.place(at, 0);
      add(grid, "line", { x1: x, x2: x, y1: frame.y, y2: bottom });
      add(grid, "text", { x, y: bottom + 15, "text-anchor": "middle" }, text);
    }
    for (const [at, text] of this.options.y.ticks(...this.view.y, Math.max(2, frame.height / 34))) {
      const [, y] = this.place(0, at);
      add(grid, "line", { x1: frame.x, x2: right, y1: y, y2: y });
      add(grid, "text", { x: frame.x - 6, y: y + 4, "text-anchor": "end" }, text);
    }
    if (this.options.label)
      add(
        grid,
        "text",
        { class: "label", x: frame.x + frame.width / 2, y: bottom + 32, "text-anchor": "middle" },
        this.options.label,
      );
  }

  path({ x, y, held }) {
    let [d, open, last] = ["", false, 0];
    for (let k = 0; k < x.length; k += 1) {
      if (!Number.isFinite(y[k]) || !Number.isFinite(x[k])) {
        if (open && held) d += `H${this.place(x[k], 0)[0].toFixed(1)}`;
        open = false;
        continue;
      }
      const [left, top] = this.place(x[k], y[k]).map((at) => Math.max(-1e5, Math.min(1e5, at)).toFixed(1));
      d += !open ? `M${left} ${top}` : held ? `H${left}V${top}` : `L${left} ${top}`;
      [open, last] = [true, left];
    }
    return d + (open && d.endsWith(`M${last}`) ? "h.1" : "");
  }

  area(parent, { kind, x, y, points }) {
    if (points) {
      add(parent, "path", { class: kind, d: `${this.path(points)}Z` });
      return;
    }
    const finite = (ends, [low, high]) =>
      ends.map((end) => Math.min(Math.max(end, low - (high - low)), high + (high - low)));
    const [left, bottom] = this.place(finite(x, this.view.x)[0], finite(y, this.view.y)[0]);
    const [right, top] = this.place(finite(x, this.view.x)[1], finite(y, this.view.y)[1]);
    add(parent, "rect", {
      class: kind,
      x: left,
      y: top,
      width: Math.max(0, right - left),
      height: Math.max(0, bottom - top),
    });
  }

  mark(parent, { kind, shape, x, y }) {
    const low = Math.min(...this.view.y);
    const [left, top] = this.place(x, Number.isFinite(y) ? y : low);
    drawMark(parent, kind, shape, left, top);
  }

  // The moment that is looked at in another chart, or here.
  point() {
    if (!this.over) return;
    this.over.replaceChildren();
    if (this.cursor.x !== null) {
      const [x] = this.place(this.cursor.x, 0);
      if (x >= EDGE.left && x <= this.width - EDGE.right)
        add(this.over, "line", { class: "cursor", x1: x, x2: x, y1: EDGE.top, y2: this.height - EDGE.bottom });
    }
    for (const { x, y, kind } of this.cursor.dots) {
      const [left, top] = this.place(x, y);
      if (Number.isFinite(left + top)) add(this.over, "circle", { class: `dot ${kind}`, cx: left, cy: top, r: 4.5 });
    }
  }

  nearest(left, top) {
    let [best, found] = [NEAR ** 2, [null, 0]];
    for (const line of [
      ...this.content.lines,
      ...this.content.marks.map((mark) => ({ ...mark, x: [mark.x], y: [mark.y] })),
    ]) {
      if (!line.label) continue;
      for (let k = 0; k < line.x.length; k += 1) {
        const [x, y] = this.place(line.x[k], line.y[k]);
        const away = (x - left) ** 2 + (y - top) ** 2;
        if (away < best) [best, found] = [away, [line, k]];
      }
    }
    return found;
  }

  name(left, top) {
    const [line, index] = this.nearest(left, top);
    this.tip.hidden = line === null;
    if (line !== null) {
      this.tip.textContent = line.label(index);
      const room = this.box.clientWidth - this.tip.offsetWidth - 4;
      this.tip.style.left = `${Math.max(0, Math.min(left + 14, room))}px`;
      this.tip.style.top = `${this.svg.offsetTop + Math.max(0, top - this.tip.offsetHeight - 12)}px`;
    }
    this.options.hover(line, index);
  }

  look(x, y) {
    for (const chart of this.linked) {
      chart.view.x = [...x];
      if (chart === this) chart.view.y = [...y];
      chart.draw();
    }
  }

  zoom(factor, [dx, dy] = [0, 0]) {
    const scaled = ([low, high], shift) => {
      const [middle, half] = [(low + high) / 2 + shift * (high - low), ((high - low) / 2) * factor];
      return [middle - half, middle + half];
    };
    this.look(scaled(this.view.x, dx), scaled(this.view.y, dy));
  }

  reset() {
    this.look(this.home.x, this.home.y);
  }

  listen() {
    let from = null;
    const at = (event) => {
      const box = this.svg.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    const drop = () => {
      this.tip.hidden = true;
      this.options.hover(null, 0);
    };
    this.svg.addEventListener("pointerdown", (event) => {
      from = at(event);
    });
    this.svg.addEventListener("pointermove", (event) => {
      if (from && event.pointerType === "mouse" && event.buttons) this.select(from, at(event));
      else this.name(...at(event));
    });
    this.svg.addEventListener("pointerup", (event) => {
      const to = at(event);
      const moved = from !== null && Math.hypot(to[0] - from[0], to[1] - from[1]) > DRAG;
      if (moved && event.pointerType === "mouse") this.within(from, to);
      else if (from && !moved) this.options.pick(...this.nearest(...to), this.value(...to)[0]);
      from = null;
    });
    this.svg.addEventListener("pointerleave", () => {
      from = null;
      this.point();
      drop();
    });
    this.svg.addEventListener("dblclick", () => this.reset());
    this.svg.addEventListener("keydown", (event) => {
      const act = {
        "+": () => this.zoom(0.6),
        "-": () => this.zoom(1 / 0.6),
        0: () => this.reset(),
        Escape: () => this.reset(),
        ArrowLeft: () => this.zoom(1, [-0.15, 0]),
        ArrowRight: () => this.zoom(1, [0.15, 0]),
        ArrowUp: () => this.zoom(1, [0, 0.15]),
        ArrowDown: () => this.zoom(1, [0, -0.15]),
      }[event.key];
      if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      act();
    });
  }

  select([x0, y0], [x1, y1]) {
    this.point();
    add(this.over, "rect", {
      class: "selection",
      x: Math.min(x0, x1),
      y: Math.min(y0, y1),
      width: Math.abs(x1 - x0),
      height: Math.abs(y1 - y0),
    });
  }

  within(from, to) {
    const [x0, y0] = this.value(...from);
    const [x1, y1] = this.value(...to);
    const wide = Math.abs(from[0] - to[0]) > DRAG ? [Math.min(x0, x1), Math.max(x0, x1)] : this.view.x;
    const high = Math.abs(from[1] - to[1]) > DRAG ? [Math.min(y0, y1), Math.max(y0, y1)] : this.view.y;
    this.look(wide, high);
  }
}
