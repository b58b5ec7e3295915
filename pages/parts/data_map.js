// A scatter of pictures. Hovering shows the picture beside the pointer; lasso and box select points, whose ids go to Python.
// Plotly itself comes from this server: no other host is asked.

function themeOf(node) {
  const style = getComputedStyle(node)
  const value = name => style.getPropertyValue(name).trim()
  return {
    font: value("--st-font"),
    text: value("--st-text-color"),
    line: value("--st-border-color"),
    accent: value("--st-primary-color"),
    colours: value("--st-chart-categorical-colors")
      .split(",")
      .map(colour => colour.trim())
      .filter(Boolean),
  }
}

function tracesOf(data, theme) {
  return data.traces.map(trace => ({
    type: "scatter",
    mode: "markers",
    name: trace.name,
    x: trace.x,
    y: trace.y,
    customdata: trace.ids,
    hoverinfo: "none",
    marker: {
      size: 8,
      opacity: 0.85,
      color: trace.slot < 0 ? theme.line : theme.colours[trace.slot % Math.max(1, theme.colours.length)],
      symbol: trace.slot < 0 ? "circle" : ["circle", "diamond", "square"][Math.floor(trace.slot / Math.max(1, theme.colours.length)) % 3],
      line: { width: 0.5, color: theme.text },
    },
    unselected: { marker: { opacity: 0.2 } },
  }))
}

function layoutOf(data, theme) {
  const axis = { visible: false, range: [-0.03, 1.03], fixedrange: false }
  return {
    height: data.height,
    autosize: true,
    font: { family: theme.font, color: theme.text, size: 12 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 4, r: 4, t: 56, b: 4 },
    legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
    showlegend: true,
    modebar: { bgcolor: "rgba(0,0,0,0)", color: theme.text, activecolor: theme.accent },
    dragmode: "lasso",
    hovermode: "closest",
    newselection: { line: { color: theme.accent, width: 2 } },
    xaxis: axis,
    yaxis: { ...axis },
    uirevision: "map",
    selectionrevision: data.traces.map(trace => trace.ids.join()).join(),
  }
}

function showPicture(root, data, event) {
  const point = event.points[0]
  const trace = data.traces[point.curveNumber]
  const card = root.querySelector(".hover")
  const picture = card.querySelector("img")
  picture.src = trace.sources[point.pointIndex]
  picture.alt = trace.words[point.pointIndex]
  card.querySelector(".words").textContent = trace.words[point.pointIndex]
  card.hidden = false
  const box = root.getBoundingClientRect()
  const left = event.event.clientX - box.left
  const top = event.event.clientY - box.top
  card.style.left = `${left + 164 > box.width ? Math.max(0, left - 164) : left + 14}px`
  card.style.top = `${Math.min(Math.max(0, top - 60), Math.max(0, box.height - 170))}px`
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".graft-data-map")
  const plot = root.querySelector(".plot")
  plot.style.height = `${data.height}px`
  plot.setAttribute("role", "img")
  plot.setAttribute("aria-label", `A map of ${data.traces.reduce((count, trace) => count + trace.ids.length, 0)} pictures; alike ones lie together`)
  const version = (Number(root.dataset.version) || 0) + 1
  root.dataset.version = version

  loadPlotly(data.source)
    .then(async Plotly => {
      if (Number(root.dataset.version) !== version) {
        return // newer data came while the library was loading
      }
      const theme = themeOf(root)
      // named one by one: Plotly's own choice offers to send the chart to its makers
      const config = { displaylogo: false, showTips: false, responsive: true, scrollZoom: true, modeBarButtons: [["zoom2d", "pan2d", "select2d", "lasso2d", "resetScale2d"]] }
      await Plotly.react(plot, tracesOf(data, theme), layoutOf(data, theme), config)
      plot.removeAllListeners("plotly_hover")
      plot.removeAllListeners("plotly_unhover")
      plot.removeAllListeners("plotly_selected")
      plot.removeAllListeners("plotly_deselect")
      plot.on("plotly_hover", event => showPicture(root, data, event))
      plot.on("plotly_unhover", () => {
        root.querySelector(".hover").hidden = true
      })
      // Plotly tells of a selection again when it draws one anew; only a change is news
      plot.on("plotly_selected", event => {
        const ids = (event?.points ?? []).map(point => point.customdata)
        if (JSON.stringify(ids) !== root.dataset.selected) {
          root.dataset.selected = JSON.stringify(ids)
          setStateValue("selected", ids)
        }
      })
      plot.on("plotly_deselect", () => {
        root.dataset.selected = "[]"
        setStateValue("selected", [])
      })
      root.dataset.drawn = version
    })
    .catch(error => {
      plot.textContent = error.message
    })

  return () => {
    root.dataset.version = "0"
    window.Plotly?.purge(plot)
  }
}
