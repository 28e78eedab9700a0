// Draws all charts in the colours of the light or dark scheme. Each figure contains the specification of its chart. Also handles the
// switches that hide policies (or curves of one figure), the slider for generations of samples, and CSV downloads.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const views = new Map();

function look() {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink").trim();
  const faint = style.getPropertyValue("--line").trim();
  const axis = { labelColor: ink, titleColor: ink, gridColor: faint, domainColor: faint, tickColor: faint, labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal" };
  return { background: "transparent", view: { stroke: null }, axis, header: { labelColor: ink, labelFontSize: 12 }, legend: { labelColor: ink, titleColor: ink, titleFontWeight: "normal" }, text: { color: ink }, font: "system-ui, sans-serif" };
}

function specification(place) {
  return JSON.parse(place.parentElement.querySelector("script").textContent);
}

// Returns the main table of a chart, which is the one with the most cells. Other tables contain floors and bands.
function numbers(spec) {
  const cells = (rows) => rows.length * Object.keys(rows[0] ?? {}).length;
  return Object.values(spec.datasets).sort((one, other) => cells(other) - cells(one))[0];
}

// Arranges panels in rows of equal length that fill the available width.
function fit(spec, room) {
  const panels = new Set(numbers(spec).map((row) => row.policy)).size;
  const most = Math.max(1, Math.min(spec.columns, Math.floor(room / (spec.spec.width + 35))));
  spec.columns = Math.ceil(panels / Math.ceil(panels / most));
  spec.spec.width = Math.min(260, Math.floor((room - 50) / spec.columns) - 22);
}

async function draw() {
  for (const place of all(".chart")) {
    const spec = specification(place);
    spec.config = look();
    if (spec.facet) fit(spec, place.clientWidth);
    views.get(place)?.finalize();
    const { view } = await window.vegaEmbed(place, spec, { actions: false, renderer: "svg" });
    views.set(place, view);
  }
  await show();
  document.documentElement.dataset.drawn = "yes";
}

// ---- switches; a switch inside a figure applies to the chart of that figure only

const switches = all("[data-switch]");

async function show() {
  const off = switches.filter((one) => one.getAttribute("aria-pressed") === "false");
  const hidden = (figure) => off.filter((one) => [null, figure].includes(one.closest("figure"))).map((one) => one.dataset.switch);
  for (const one of all("[data-policy]")) one.classList.toggle("off", hidden(null).includes(one.dataset.policy));
  await Promise.all([...views].map(([place, view]) => view.signal("hidden", hidden(place.parentElement)).runAsync()));
}

for (const one of switches) {
  one.addEventListener("click", () => {
    one.setAttribute("aria-pressed", String(one.getAttribute("aria-pressed") !== "true"));
    show();
  });
}

// ---- generations of samples

for (const samples of all(".samples")) {
  const numbers = samples.dataset.generations.split(" ");
  const slider = samples.querySelector("input");
  const move = () => {
    const number = numbers[slider.value];
    samples.querySelector("output").value = number;
    slider.setAttribute("aria-valuetext", `generation ${number}`);
    for (const cell of all("[data-generation]", samples)) cell.hidden = cell.dataset.generation !== number;
  };
  slider.addEventListener("input", move);
  move();
}

// ---- CSV

const quoted = (value) => (/[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
const lines = (rows) => rows.map((row) => row.map((value) => quoted(String(value ?? ""))).join(",")).join("\r\n") + "\r\n";

function offer(place, name, rows) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "csv";
  button.textContent = "CSV";
  button.setAttribute("aria-label", `download ${name} as CSV`);
  button.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines(rows())], { type: "text/csv" }));
    link.download = `${name}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  place.append(button);
}

for (const table of all("table[data-csv]")) {
  const cells = (row) => [...row.cells].map((cell) => cell.innerText.replace(/\s+/g, " ").trim());
  offer(table.parentElement, table.dataset.csv, () => [...table.rows].map(cells));
}
for (const place of all(".chart")) {
  const figure = place.parentElement;
  offer(figure.querySelector("figcaption"), (figure.dataset.csv ?? figure.querySelector("b").textContent).replaceAll(" ", "_"), () => {
    const data = numbers(specification(place));
    const names = Object.keys(data[0]);
    return [names, ...data.map((row) => names.map((name) => row[name]))];
  });
}

for (const data of all("script[data-csv]")) offer(data.parentElement, data.dataset.csv, () => JSON.parse(data.textContent));

dark.addEventListener("change", draw);
draw();
