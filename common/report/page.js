// Draws every chart from the specification beside it, in the colours of the reader's light or dark scheme.
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function look() {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink").trim();
  const faint = style.getPropertyValue("--line").trim();
  const axis = { labelColor: ink, titleColor: ink, gridColor: faint, domainColor: faint, tickColor: faint, labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal" };
  return { background: "transparent", view: { stroke: null }, axis, header: { labelColor: ink, labelFontSize: 12 }, legend: { labelColor: ink, titleColor: ink, titleFontWeight: "normal" }, font: "system-ui, sans-serif" };
}

async function draw() {
  for (const place of document.querySelectorAll(".chart")) {
    const spec = JSON.parse(place.parentElement.querySelector("script").textContent);
    spec.config = look();
    await window.vegaEmbed(place, spec, { actions: false, renderer: "svg" });
  }
  document.documentElement.dataset.drawn = "yes";
}

dark.addEventListener("change", draw);
draw();
