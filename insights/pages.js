"use strict";
// What every page does: draws its charts, keeps its switches in the address, saves charts as CSV and PNG, and themes.
(() => {
  const root = document.documentElement;
  const read = (id) => { const found = document.getElementById(id); return found ? JSON.parse(found.textContent) : null; };
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim() || name;
  let stored = "auto";
  try { stored = localStorage.getItem("payrescue-theme") || "auto"; } catch { /* files may have no storage */ }
  const theme = (value) => { if (value === "auto") delete root.dataset.theme; else root.dataset.theme = value; };
  theme(stored);

  // Plotly takes text for markup, and what merchants call things is none: of all that looks like it, only our own <br> is left
  const plain = (text) => text.replaceAll("&", "&amp;").split("<br>").map((line) => line.replaceAll("<", "&lt;")).join("<br>");
  // Colours are named, so that a chart follows the theme
  const coloured = (value) => {
    if (typeof value === "string") return /^--[a-z_-]+$/.test(value) ? colour(value) : plain(value);
    if (Array.isArray(value)) return value.map(coloured);
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v)]));
    return value;
  };
  const axis = (given) => ({ gridcolor: colour("--grid"), linecolor: colour("--line"), zerolinecolor: colour("--soft"), automargin: true, fixedrange: true, ...coloured(given || {}) });
  const draw = (box, chart, clicked) => {
    box.chart = chart; box.clicked = clicked;
    box.style.minHeight = `${chart.height}px`;
    if (!window.Plotly) return;
    const layout = {
      ...coloured(chart.layout), height: chart.height, autosize: true, dragmode: false, hoverlabel: { align: "left" },
      margin: { l: 8, r: 24, t: 12, b: 36, ...(chart.layout.margin || {}) }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("--text") },
      xaxis: axis(chart.layout.xaxis), yaxis: axis(chart.layout.yaxis), bargap: 0.25,
    };
    window.Plotly.react(box, coloured(chart.traces), layout, { responsive: true, displayModeBar: false });
    box.removeAllListeners("plotly_click");
    if (clicked) box.on("plotly_click", (event) => clicked(event.points[0].pointIndex));
  };
  const drawVisible = () => {
    for (const box of document.querySelectorAll("[data-chart]")) {
      if (!box.chart && box.offsetParent !== null) draw(box, read(`data-${box.dataset.chart}`));
    }
  };
  const redraw = () => { for (const box of document.querySelectorAll(".plot")) if (box.chart) draw(box, box.chart, box.clicked); };
  // The library is large: it is asked for once the page can be read and used, and draws what waits for it
  const fetchLibrary = () => {
    const script = document.createElement("script");
    script.src = "plotly.min.js";
    script.addEventListener("load", () => { redraw(); performance.mark("charts-drawn"); });
    document.head.append(script);
  };

  const save = (name, blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob); link.download = name; document.body.append(link); link.click(); link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 5000);
  };
  const csv = (table) => [...table.rows].map((row) => [...row.cells].map((cell) => {
    const text = (cell.dataset.raw ?? cell.textContent).trim();
    // A leading sign would make a spreadsheet run it
    const safe = cell.dataset.raw === undefined && /^[=+@\-]/.test(text) ? `'${text}` : text;
    return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }).join(",")).join("\r\n") + "\r\n";
  const tools = (said) => {
    for (const figure of document.querySelectorAll("figure.chart")) {
      const plot = figure.querySelector(".plot"), title = figure.querySelector("h3");
      const name = () => `payrescue-${(figure.id || plot.id)}`;
      const line = document.createElement("div");
      line.className = "save";
      const button = (text, act) => {
        const made = document.createElement("button");
        made.type = "button"; made.textContent = text;
        made.addEventListener("click", act);
        made.addEventListener("focus", () => made.setAttribute("aria-label", `${text}: ${title.textContent}`), { once: true });
        line.append(made);
      };
      button(said.csv, () => save(`${name()}.csv`, new Blob(["\ufeff", csv(figure.querySelector("table"))], { type: "text/csv" })));
      if (plot) button(said.png, () => {
        const background = colour("--card");
        window.Plotly.relayout(plot, { paper_bgcolor: background })
          .then(() => window.Plotly.downloadImage(plot, { format: "png", width: 1100, height: plot.chart.height, scale: 2, filename: name() }))
          .then(() => window.Plotly.relayout(plot, { paper_bgcolor: "rgba(0,0,0,0)" }));
      });
      figure.querySelector("details").before(line);
    }
  };

  // Switches: radio groups and lists named by data-switch; what they show is named by data-show; both stand in the address
  const inAddress = () => new URLSearchParams(location.hash.slice(1));
  const switches = [...document.querySelectorAll("[data-switch]")];
  const valueOf = (one) => one.tagName === "SELECT" ? one.value : one.querySelector("input:checked").value;
  const show = () => {
    const state = Object.fromEntries(switches.map((one) => [one.dataset.switch, valueOf(one)]));
    for (const part of document.querySelectorAll("[data-show]")) {
      part.hidden = ![...new URLSearchParams(part.dataset.show)].every(([name, value]) => state[name] === value);
    }
    drawVisible();
  };
  const follow = () => {
    if (location.hash && !location.hash.includes("=")) return; // a link within the page
    const told = inAddress();
    for (const one of switches) {
      const wanted = told.get(one.dataset.switch);
      if (one.tagName === "SELECT") {
        one.value = [...one.options].some((option) => option.value === wanted) ? wanted : one.options[0].value;
      } else {
        const inputs = [...one.querySelectorAll("input")];
        const found = inputs.find((input) => input.value === wanted) || inputs.find((input) => input.defaultChecked) || inputs[0];
        found.checked = true;
      }
    }
    show();
  };
  const switched = (one) => {
    const told = inAddress();
    told.set(one.dataset.switch, valueOf(one));
    history.pushState(null, "", `#${told}`);
    show();
    keepHash();
  };
  const keepHash = () => {
    for (const link of document.querySelectorAll("[data-keep-hash]")) link.href = link.getAttribute("href").split("#")[0] + location.hash;
  };

  const begin = () => {
    const choice = document.getElementById("theme");
    choice.value = stored;
    choice.addEventListener("change", () => {
      theme(choice.value);
      try { localStorage.setItem("payrescue-theme", choice.value); } catch { /* as above */ }
      redraw();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    tools(read("said"));
    for (const one of switches) one.addEventListener("change", () => switched(one));
    for (const event of ["hashchange", "popstate"]) addEventListener(event, () => { if (switches.length) follow(); keepHash(); });
    if (switches.length) follow(); else drawVisible();
    keepHash();
    addEventListener("beforeprint", drawVisible);
    performance.mark("page-ready");
    if (document.querySelector(".plot")) requestAnimationFrame(() => setTimeout(fetchLibrary));
  };
  window.payrescue = { draw, read, inAddress, drawVisible, keepHash };
  document.addEventListener("DOMContentLoaded", begin);
})();
