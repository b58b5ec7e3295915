// A grid of Plotly charts that redraw in place. The node of a chart lives as long as its id is in the data, so the
// user's zoom and the hover stay while points arrive. Plotly itself comes from this server: no other host is asked.

function themeOf(node) {
  const style = getComputedStyle(node)
  const value = (name) => style.getPropertyValue(name).trim()
  return {
    font: value("--st-font"),
    text: value("--st-text-color"),
    grid: value("--st-border-color-light") || value("--st-border-color"),
    panel: value("--st-background-color"),
    colours: value("--st-chart-categorical-colors")
      .split(",")
      .map((colour) => colour.trim())
      .filter(Boolean),
  }
}

function traceOf(line, theme) {
  const colour = theme.colours[line.slot % Math.max(1, theme.colours.length)]
  return {
    type: "scatter",
    mode: line.markers ? "lines+markers" : "lines",
    name: line.name,
    x: line.x,
    y: line.y,
    connectgaps: false,
    opacity: line.faint ? 0.35 : 1,
    line: { color: colour, width: line.faint ? 1 : 2.2 },
    marker: { color: colour, size: 6 },
  }
}

function layoutOf(chart, data, theme) {
  const empty = chart.lines.every((line) => line.y.every((value) => value === null))
  return {
    height: data.height,
    autosize: true,
    font: { family: theme.font, color: theme.text, size: 12 },
    title: { text: chart.title, x: 0, xref: "container", y: 1, yref: "container", yanchor: "top", pad: { l: 14, t: 12 }, font: { size: 14 } },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 54, r: 16, t: chart.lines.length > 1 ? 62 : 44, b: 34 },
    showlegend: chart.lines.length > 1,
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
    hovermode: "x unified",
    hoverlabel: { bgcolor: theme.panel },
    xaxis: { title: { text: chart.xTitle, font: { size: 11 }, standoff: 2 }, gridcolor: theme.grid, zeroline: false, visible: !empty },
    yaxis: {
      visible: !empty,
      autorangeoptions: chart.percent ? { clipmin: 0, clipmax: 1.02 } : undefined,
      gridcolor: theme.grid,
      zeroline: false,
      rangemode: chart.fromZero ? "tozero" : "normal",
      tickformat: chart.percent ? ".0%" : undefined,
      exponentformat: "power",
      nticks: 6,
    },
    shapes: (empty ? [] : chart.marks).map((mark) => ({
      type: "line",
      x0: mark.x,
      x1: mark.x,
      y0: 0,
      y1: 1,
      yref: "paper",
      line: { color: theme.text, width: 1, dash: "dot" },
      opacity: 0.35,
    })),
    annotations: empty ? [waiting(theme)] : chart.marks.map((mark) => ({
      x: mark.x,
      y: 1,
      yref: "paper",
      yanchor: "top",
      xanchor: "left",
      xshift: 4,
      text: mark.text,
      showarrow: false,
      font: { size: 10 },
      opacity: 0.7,
    })),
    uirevision: data.revision,
  }
}

function waiting(theme) {
  return { text: "No points yet", x: 0.5, y: 0.5, xref: "paper", yref: "paper", showarrow: false, font: { size: 12, color: theme.text }, opacity: 0.5 }
}

function nodeOf(grid, chart, height) {
  let node = grid.querySelector(`[data-chart="${chart.id}"]`)
  if (!node) {
    node = document.createElement("div")
    node.className = "graft-live-chart"
    node.dataset.chart = chart.id
    grid.append(node)
  }
  node.style.height = `${height}px`
  node.setAttribute("role", "img")
  node.setAttribute("aria-label", describe(chart))
  return node
}

function describe(chart) {
  const parts = chart.lines.map((line) => {
    const last = line.y.filter((value) => value !== null).at(-1)
    return last === undefined ? `${line.name}: no value yet` : `${line.name}: ${last} at the last point`
  })
  return `${chart.title}. ${parts.join(", ")}`
}

export default function ({ data, parentElement }) {
  const grid = parentElement.querySelector(".graft-live-charts")
  const nodes = data.charts.map((chart) => nodeOf(grid, chart, data.height))
  const version = (Number(grid.dataset.version) || 0) + 1
  grid.dataset.version = version

  loadPlotly(data.source)
    .then((Plotly) => {
      if (Number(grid.dataset.version) !== version) {
        return // newer points arrived while the library was loading
      }
      const theme = themeOf(grid)
      data.charts.forEach((chart, index) => {
        const traces = chart.lines.map((line) => traceOf(line, theme))
        Plotly.react(nodes[index], traces, layoutOf(chart, data, theme), { displayModeBar: false, responsive: true })
      })
    })
    .catch((error) => {
      grid.textContent = error.message
    })

  return () => {
    grid.dataset.version = "0"
    nodes.forEach((node) => window.Plotly?.purge(node))
  }
}
