"use strict";
// Failures from any side. What is looked at stands in the address: measure, by, in and is (a segment and its value), cause.
document.addEventListener("DOMContentLoaded", () => {
  const { draw, read, inAddress, keepHash } = window.payrescue;
  const cube = read("cube"), said = read("reasons-said");
  if (!cube) return;
  const Z = 1.959963984540054, segments = Object.keys(cube.segments), k = cube.causes.length;
  const name = (value) => said.names[value] ?? value;
  const count = (value) => Math.round(value).toLocaleString("en-US");
  const percent = (share, digits = share && Math.abs(share) < 0.01 ? 2 : 1) => said.percent.replace("{value}", (100 * share).toFixed(digits));
  const bound = (share, of) => (100 * share).toFixed(of && of < 0.01 ? 2 : 1);
  const between = (low, high) => said.between.replace("{low}", low).replace("{high}", high);
  const fill = (text, fields) => Object.entries(fields).reduce((done, [key, value]) => done.replaceAll(`{${key}}`, value), text);
  const measures = ["attempts", "payments", ...cube.currencies.map((one) => `money-${one}`)];
  const measureName = (one) => one === "attempts" ? said.attempts_failed : one === "payments" ? said.payments_lost : fill(said.money_lost, { currency: one.slice(6) });

  const wilson = (hits, n, effect) => {
    if (!n) return [NaN, NaN, NaN];
    const p = hits / n, m = n / effect, middle = (p + Z * Z / (2 * m)) / (1 + Z * Z / m);
    const half = Z / (1 + Z * Z / m) * Math.sqrt(p * (1 - p) / m + Z * Z / (4 * m * m));
    return [p, Math.max(0, Math.min(middle - half, p)), Math.min(1, Math.max(middle + half, p))];
  };
  // The cells of a pair of segments, the first one's place first
  const pair = (one, other) => {
    const straight = cube.pairs[`${one}|${other}`];
    if (straight) return straight;
    const turned = cube.pairs[`${other}|${one}`];
    const turn = (rows) => rows.map(([i, j, ...rest]) => [j, i, ...rest]);
    return { ended: turn(turned.ended), failed: turn(turned.failed) };
  };
  const empty = () => ({ attempts: 0, payments: 0, failed: new Float64Array(k), lost: new Float64Array(k), money: cube.currencies.map(() => new Float64Array(k)), squares: cube.currencies.map(() => new Float64Array(k)) });
  // What there is of each value of a segment, within another segment's value if one is chosen
  const byValue = (by, within) => {
    const inside = within && within.segment !== by;
    const cells = inside ? pair(within.segment, by) : pair(by, segments.find((one) => one !== by));
    const rows = cube.segments[by].map(empty), of = inside ? ([i, j]) => i === within.place ? j : -1 : ([i]) => i;
    for (const cell of cells.ended) { const at = of(cell); if (at >= 0) { rows[at].attempts += cell[2]; rows[at].payments += cell[3]; } }
    for (const cell of cells.failed) {
      const at = of(cell);
      if (at < 0) continue;
      rows[at].failed[cell[2]] += cell[3]; rows[at].lost[cell[2]] += cell[4];
      cube.currencies.forEach((_, c) => { rows[at].money[c][cell[2]] += cell[5 + c]; rows[at].squares[c][cell[2]] += cell[5 + cube.currencies.length + c]; });
    }
    return rows;
  };
  const sum = (rows) => rows.reduce((all, row) => {
    all.attempts += row.attempts; all.payments += row.payments;
    for (let c = 0; c < k; c++) { all.failed[c] += row.failed[c]; all.lost[c] += row.lost[c]; row.money.forEach((one, m) => { all.money[m][c] += one[c]; all.squares[m][c] += row.squares[m][c]; }); }
    return all;
  }, empty());
  // Value with interval, its size and what it is of, of some causes
  const figure = (row, causes, measure) => {
    const add = (values) => causes.reduce((all, c) => all + values[c], 0);
    if (measure === "attempts") { const hits = add(row.failed), [value, low, high] = wilson(hits, row.attempts, cube.effect); return { value, low, high, hits, n: row.attempts, text: `${percent(value)} ${between(bound(low, value), bound(high, value))}` }; }
    if (measure === "payments") { const hits = add(row.lost), [value, low, high] = wilson(hits, row.payments, 1); return { value, low, high, hits, n: row.payments, text: `${percent(value)} ${between(bound(low, value), bound(high, value))}` }; }
    const c = cube.currencies.indexOf(measure.slice(6)), value = add(row.money[c]), half = Z * Math.sqrt(add(row.squares[c]));
    const low = Math.max(0, value - half), high = value + half;
    return { value, low, high, hits: add(row.lost), n: row.payments, text: `${count(value)} ${between(count(low), count(high))}` };
  };

  const state = () => {
    const told = inAddress(), found = { measure: "attempts", by: segments.includes("method") ? "method" : segments[0], within: null, cause: null };
    if (measures.includes(told.get("measure"))) found.measure = told.get("measure");
    if (segments.includes(told.get("by"))) found.by = told.get("by");
    if (segments.includes(told.get("in"))) {
      const place = cube.segments[told.get("in")].indexOf(told.get("is"));
      if (place >= 0) found.within = { segment: told.get("in"), value: told.get("is"), place };
    }
    const [category, reason] = (told.get("cause") || "").split("/");
    if (cube.causes.some((one) => one[0] === category && (!reason || one[1] === reason))) found.cause = { category, reason };
    return found;
  };
  const address = (s) => {
    const told = new URLSearchParams({ measure: s.measure, by: s.by });
    if (s.within) { told.set("in", s.within.segment); told.set("is", s.within.value); }
    if (s.cause) told.set("cause", s.cause.reason ? `${s.cause.category}/${s.cause.reason}` : s.cause.category);
    return `#${told}`;
  };
  const go = (s) => { history.pushState(null, "", address(s)); render(); };
  const matching = (cause) => cube.causes.map((_, place) => place).filter((place) => !cause || (cube.causes[place][0] === cause.category && (!cause.reason || cube.causes[place][1] === cause.reason)));
  const causeName = (cause) => cause.reason ? `${name(cause.category)}: ${name(cause.reason)}` : name(cause.category);

  const link = (s, text) => { const made = document.createElement("a"); made.href = address(s); made.textContent = text; made.addEventListener("click", (event) => { if (!event.ctrlKey && !event.metaKey) { event.preventDefault(); go(s); } }); return made; };
  const fillTable = (table, first, rows, s) => {
    table.replaceChildren();
    const head = table.createTHead().insertRow();
    for (const [place, text] of [first, s.measure.startsWith("money") ? measureName(s.measure) : said.share, said.interval, said.count, said.n].entries()) { const cell = document.createElement("th"); cell.scope = "col"; if (place) cell.className = "n"; cell.textContent = text; head.append(cell); }
    const body = table.createTBody();
    for (const row of rows) {
      const line = body.insertRow(), label = document.createElement("th");
      label.scope = "row";
      label.append(row.to ? link(row.to, row.label) : row.label);
      line.append(label);
      const money = s.measure.startsWith("money"), f = row.figure;
      for (const [text, raw] of [[money ? count(f.value) : percent(f.value), f.value], [money ? `${count(f.low)} – ${count(f.high)}` : `${bound(f.low, f.value)} – ${bound(f.high, f.value)}`, null], [count(f.hits), f.hits], [count(f.n), f.n]]) { const cell = line.insertCell(); cell.className = "n"; cell.textContent = text; if (raw !== null) cell.dataset.raw = raw; }
    }
  };
  const chart = (id, rows, colours, s) => {
    const box = document.getElementById(id), money = s.measure.startsWith("money");
    const labels = rows.map((row) => `${row.label}<br>n = ${count(row.figure.n)}`);
    const trace = {
      type: "bar", orientation: "h", y: labels, x: rows.map((row) => row.figure.value), marker: { color: colours },
      text: rows.map((row) => `${row.label}: ${row.figure.text}<br>${said.count}: ${count(row.figure.hits)}`), textposition: "none", hoverinfo: "text",
      error_x: { type: "data", symmetric: false, array: rows.map((row) => row.figure.high - row.figure.value), arrayminus: rows.map((row) => row.figure.value - row.figure.low), color: "--text", thickness: 1.2, width: 3 },
    };
    const layout = { showlegend: false, yaxis: { autorange: "reversed" }, xaxis: money ? { rangemode: "tozero" } : { tickformat: ".1~%", rangemode: "tozero" } };
    draw(box, { traces: [trace], layout, height: Math.max(160, 70 + 44 * rows.length) }, (place) => go(rows[place].to));
  };

  const render = () => {
    const s = state();
    document.querySelectorAll("#measure input").forEach((input) => { input.checked = input.value === s.measure; });
    document.getElementById("by").value = s.by;
    const crumbs = document.createElement("ul"), crumb = (made) => { const item = document.createElement("li"); item.append(made); crumbs.append(item); };
    crumb(link({ ...s, within: null, cause: null }, said.all));
    if (s.within) crumb(link({ ...s, within: null }, `${said.segments[s.within.segment]}: ${name(s.within.value)}  ×`));
    if (s.cause) { crumb(link({ ...s, cause: null }, `${name(s.cause.category)}  ×`)); if (s.cause.reason) crumb(link({ ...s, cause: { category: s.cause.category } }, `${name(s.cause.reason)}  ×`)); }
    document.getElementById("crumbs").replaceChildren(crumbs);

    const other = s.within ? segments.find((one) => one !== s.within.segment) : segments[0];
    const whole = sum(byValue(other, s.within));
    const drilled = s.cause !== null;
    const keys = drilled
      ? matching({ category: s.cause.category }).map((place) => ({ label: name(cube.causes[place][1]), causes: [place], to: { ...s, cause: { category: s.cause.category, reason: cube.causes[place][1] } }, colour: `--${s.cause.category}` }))
      : [...new Set(cube.causes.map((one) => one[0]))].map((category) => ({ label: name(category), causes: matching({ category }), to: { ...s, cause: { category } }, colour: `--${category}` }));
    const causes = keys.map((key) => ({ ...key, figure: figure(whole, key.causes, s.measure) })).filter((row) => row.figure.hits > 0).sort((a, b) => b.figure.value - a.figure.value);
    const where = s.within ? `${said.segments[s.within.segment]}: ${name(s.within.value)}` : said.all;
    document.getElementById("causes-title").textContent = fill(said.causes_title, { what: measureName(s.measure), level: drilled ? `${said.reason} (${name(s.cause.category)})` : said.category, where });
    const chosen = matching(s.cause), total = figure(whole, chosen, s.measure);
    document.getElementById("told").textContent = total.hits ? fill(said.causes_summary, { where, cause: s.cause ? causeName(s.cause) : said.all_causes, what: measureName(s.measure), hits: count(total.hits), n: count(total.n), value: total.text }) : said.nothing;
    chart("causes-plot", causes, causes.map((row) => row.colour), s);
    fillTable(document.getElementById("causes"), drilled ? said.reason : said.category, causes, s);

    const rows = byValue(s.by, s.within).map((row, place) => ({ label: name(cube.segments[s.by][place]), figure: figure(row, chosen, s.measure), to: { ...s, within: { segment: s.by, value: cube.segments[s.by][place], place }, by: s.within && s.within.segment === s.by ? s.by : nextBy(s.by) } })).filter((row) => row.figure.n > 0);
    document.getElementById("values-title").textContent = fill(said.segments_title, { what: measureName(s.measure), segment: said.segments[s.by], cause: s.cause ? causeName(s.cause) : said.all_causes, where: s.within && s.within.segment === s.by ? said.all : where });
    chart("values-plot", rows, rows.map((row) => s.within && s.within.segment === s.by && row.label === name(s.within.value) ? "--other" : "--neutral"), s);
    fillTable(document.getElementById("values"), said.segments[s.by], rows, s);
    keepHash();
  };
  const nextBy = (by) => segments[(segments.indexOf(by) + 1) % segments.length];

  const box = document.getElementById("measure");
  for (const one of measures) {
    const label = document.createElement("label"), input = document.createElement("input");
    input.type = "radio"; input.name = "measure"; input.value = one;
    input.addEventListener("change", () => go({ ...state(), measure: one }));
    label.append(input, ` ${measureName(one)}`); box.append(label);
  }
  const by = document.getElementById("by");
  for (const one of segments) by.add(new Option(said.segments[one], one));
  by.addEventListener("change", () => go({ ...state(), by: by.value }));
  for (const event of ["hashchange", "popstate"]) addEventListener(event, render);
  render();
});
