"use strict";
// States and inputs in charts: their names, and where they must not go.

function unitOf({ unit }) {
  return unit ? ` ${unit}` : "";
}

function titleOf({ name, unit }) {
  return name + (unit ? ` [${unit}]` : "");
}

function outside(axis, { low, high }) {
  const whole = [-Infinity, Infinity];
  const areas = [];
  if (low !== null) areas.push({ kind: "forbidden", x: whole, y: whole, [axis]: [-Infinity, low] });
  if (high !== null) areas.push({ kind: "forbidden", x: whole, y: whole, [axis]: [high, Infinity] });
  return areas;
}
