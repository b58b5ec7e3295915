// A line chart on a canvas that redraws in place: the whole picture in one go, so that it never blanks, and only when its points,
// its size or its colours changed. Drag across it to look closer, double-click to see all of it again; the zoom stays while points arrive.

const CHART_MARGIN = { left: 56, right: 14, top: 8, bottom: 34 }
const FEWEST_DRAGGED_PX = 8

// ---- numbers on axes

function niceTicks(low, high, most) {
  const span = high - low || Math.abs(high) || 1
  const raw = span / Math.max(1, most)
  const power = 10 ** Math.floor(Math.log10(raw))
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((one) => one >= raw * 0.999) ?? 10 * power
  const ticks = []
  for (let number = Math.ceil(low / step - 1e-9); number * step <= high + step * 1e-9; number += 1) {
    ticks.push(number * step)
  }
  return { ticks, step }
}

function superscript(number) {
  return [...String(number)].map((sign) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign] ?? "⁻").join("")
}

function tickText(value, step, percent) {
  if (percent) {
    return `${(100 * value).toFixed(step < 0.0099 ? 1 : 0)}%`
  }
  if (Math.abs(value) < step / 1000) {
    return "0"
  }
  if (step < 0.001) {
    const power = Math.floor(Math.log10(Math.abs(value)) + 1e-9)
    return `${Number((value / 10 ** power).toPrecision(3))}×10${superscript(power)}`
  }
  return value.toLocaleString("en", { maximumFractionDigits: 6, maximumSignificantDigits: 6 })
}

function valueText(value, percent) {
  return percent ? `${(100 * value).toFixed(1)}%` : value.toLocaleString("en", { maximumSignificantDigits: 4 })
}

// ---- what is in view

function extent(chart, zoom) {
  const box = { x0: Infinity, x1: -Infinity, y0: chart.fromZero ? 0 : Infinity, y1: -Infinity }
  for (const line of chart.lines) {
    if (line.hidden) {
      continue
    }
    for (let row = 0; row < line.x.length; row += 1) {
      const [x, y] = [line.x[row], line.y[row]]
      if (y === null || (zoom && (x < zoom[0] || x > zoom[1]))) {
        continue
      }
      box.x0 = Math.min(box.x0, x)
      box.x1 = Math.max(box.x1, x)
      box.y0 = Math.min(box.y0, y)
      box.y1 = Math.max(box.y1, y)
    }
  }
  if (box.y1 === -Infinity) {
    return zoom ? { x0: zoom[0], x1: zoom[1], y0: 0, y1: 1 } : null
  }
  if (zoom) {
    ;[box.x0, box.x1] = zoom
  }
  if (box.x0 === box.x1) {
    box.x0 -= 0.5
    box.x1 += 0.5
  }
  const pad = (box.y1 - box.y0 || Math.abs(box.y1) || 1) * 0.06
  box.y0 = chart.fromZero ? 0 : chart.percent ? Math.max(0, box.y0 - pad) : box.y0 - pad
  box.y1 = chart.percent ? Math.min(1.02, box.y1 + pad) : box.y1 + pad
  return box
}

function nearestRow(line, x) {
  let [low, high] = [0, line.x.length - 1]
  while (low < high) {
    const middle = (low + high) >> 1
    if (line.x[middle] < x) {
      low = middle + 1
    } else {
      high = middle
    }
  }
  return low > 0 && Math.abs(line.x[low - 1] - x) < Math.abs(line.x[low] - x) ? low - 1 : low
}

// ---- one chart

class LiveChart {
  constructor(grid, id, themeOf) {
    this.themeOf = themeOf
    this.hidden = new Set()
    this.zoom = null
    this.node = element("div", "graft-live-chart")
    this.node.dataset.chart = id
    this.title = element("div", "chart-title")
    this.back = element("button", "chart-back", "Show all")
    this.back.type = "button"
    this.back.hidden = true
    this.back.onclick = () => this.setZoom(null)
    this.legend = element("div", "chart-legend")
    this.stage = element("div", "chart-stage")
    this.canvas = element("canvas")
    this.canvas.setAttribute("role", "img")
    this.tip = element("div", "chart-tip")
    this.tip.hidden = true
    this.stage.append(this.canvas, this.tip)
    const head = element("div", "chart-head")
    head.append(this.title, this.back)
    this.node.append(head, this.legend, this.stage)
    grid.append(this.node)
    this.listen()
  }

  listen() {
    const place = (event) => event.clientX - this.canvas.getBoundingClientRect().left
    this.stage.onpointerdown = (event) => {
      if (event.button === 0 && event.pointerType === "mouse" && this.box) {
        this.stage.setPointerCapture(event.pointerId)
        this.drag = [place(event), place(event)]
      }
    }
    this.stage.onpointermove = (event) => {
      this.hover = place(event)
      if (this.drag) {
        this.drag[1] = this.hover
      }
      this.draw()
    }
    this.stage.onpointerup = () => {
      const [from, to] = (this.drag ?? [0, 0]).sort((one, other) => one - other)
      this.drag = null
      if (to - from >= FEWEST_DRAGGED_PX) {
        this.setZoom([this.xAt(from), this.xAt(to)])
      }
    }
    this.stage.onpointercancel = this.stage.onpointerleave = () => {
      this.hover = this.drag = null
      this.draw()
    }
    this.stage.ondblclick = () => this.setZoom(null)
    // off the screen nothing is drawn; what is missing is drawn when it comes into view
    this.inView = new IntersectionObserver((seen) => {
      this.visible = seen.at(-1).isIntersecting
      this.draw()
    })
    this.inView.observe(this.node)
    this.resized = new ResizeObserver(() => this.draw(true))
    this.resized.observe(this.stage)
  }

  end() {
    this.inView.disconnect()
    this.resized.disconnect()
    this.node.remove()
  }

  setZoom(range) {
    this.zoom = range
    this.node.zoom = range
    this.back.hidden = !range
    this.draw(true)
  }

  show(chart) {
    this.chart = chart
    this.node.data = chart.lines // for who looks from outside: tests and benchmarks
    chart.lines.forEach((line) => (line.hidden = this.hidden.has(line.name)))
    setText(this.title, chart.title)
    this.fillLegend()
    this.canvas.setAttribute("aria-label", describe(chart))
    this.draw(true)
  }

  fillLegend() {
    const lines = this.chart.lines.length > 1 ? this.chart.lines : []
    while (this.legend.children.length > lines.length) {
      this.legend.lastElementChild.remove()
    }
    lines.forEach((line, index) => {
      const button = this.legend.children[index] ?? this.legend.appendChild(element("button", "", ""))
      button.type = "button"
      setText(button, line.name)
      button.classList.toggle("faint", line.faint)
      button.style.setProperty("--line", this.colour(line))
      button.setAttribute("aria-pressed", String(!line.hidden))
      button.onclick = () => {
        this.hidden[line.hidden ? "delete" : "add"](line.name)
        this.show(this.chart)
      }
    })
  }

  colour(line) {
    const { colours } = this.themeOf()
    return colours[line.slot % Math.max(1, colours.length)]
  }

  // ---- places

  xPx(x) {
    return CHART_MARGIN.left + ((x - this.box.x0) / (this.box.x1 - this.box.x0)) * this.inner.width
  }

  xAt(px) {
    const share = Math.min(1, Math.max(0, (px - CHART_MARGIN.left) / this.inner.width))
    return this.box.x0 + share * (this.box.x1 - this.box.x0)
  }

  yPx(y) {
    return CHART_MARGIN.top + (1 - (y - this.box.y0) / (this.box.y1 - this.box.y0)) * this.inner.height
  }

  // ---- drawing

  draw(anew = false) {
    this.stale ||= anew
    if (!this.chart || !this.visible || (!this.stale && this.hover === this.drawnHover && !this.drag)) {
      return
    }
    const [width, height, scale] = [this.stage.clientWidth, this.stage.clientHeight, window.devicePixelRatio || 1]
    if (!width || !height) {
      return
    }
    this.stale = false
    this.drawnHover = this.hover
    if (this.canvas.width !== Math.round(width * scale) || this.canvas.height !== Math.round(height * scale)) {
      this.canvas.width = Math.round(width * scale)
      this.canvas.height = Math.round(height * scale)
    }
    this.inner = { width: width - CHART_MARGIN.left - CHART_MARGIN.right, height: height - CHART_MARGIN.top - CHART_MARGIN.bottom }
    this.box = extent(this.chart, this.zoom)
    const pen = this.canvas.getContext("2d")
    const theme = this.themeOf()
    pen.setTransform(scale, 0, 0, scale, 0, 0)
    pen.clearRect(0, 0, width, height)
    pen.font = `12px ${theme.font}`
    pen.lineJoin = "round"
    if (this.box) {
      this.drawAxes(pen, theme, width, height)
      this.drawInside(pen, theme)
    } else {
      this.write(pen, theme.text, "No points yet", width / 2, height / 2, "center", 0.5)
    }
    this.drawTip(width)
  }

  write(pen, colour, text, x, y, align, alpha = 0.85) {
    pen.globalAlpha = alpha
    pen.fillStyle = colour
    pen.textAlign = align
    pen.textBaseline = "middle"
    pen.fillText(text, x, y)
    pen.globalAlpha = 1
  }

  drawAxes(pen, theme, width, height) {
    const { box } = this
    const across = niceTicks(box.x0, box.x1, this.inner.width / 90)
    const up = niceTicks(box.y0, box.y1, 6)
    pen.strokeStyle = theme.grid
    pen.lineWidth = 1
    pen.beginPath()
    for (const x of across.ticks) {
      const px = Math.round(this.xPx(x)) + 0.5
      pen.moveTo(px, CHART_MARGIN.top)
      pen.lineTo(px, CHART_MARGIN.top + this.inner.height)
    }
    for (const y of up.ticks) {
      const px = Math.round(this.yPx(y)) + 0.5
      pen.moveTo(CHART_MARGIN.left, px)
      pen.lineTo(CHART_MARGIN.left + this.inner.width, px)
    }
    pen.stroke()
    for (const x of across.ticks) {
      this.write(pen, theme.text, tickText(x, across.step, false), this.xPx(x), height - CHART_MARGIN.bottom + 11, "center")
    }
    for (const y of up.ticks) {
      this.write(pen, theme.text, tickText(y, up.step, this.chart.percent), CHART_MARGIN.left - 6, this.yPx(y), "right")
    }
    this.write(pen, theme.text, this.chart.xTitle, CHART_MARGIN.left + this.inner.width / 2, height - 7, "center", 0.65)
  }

  drawInside(pen, theme) {
    pen.save()
    pen.beginPath()
    pen.rect(CHART_MARGIN.left - 4, CHART_MARGIN.top - 4, this.inner.width + 8, this.inner.height + 8) // markers on the edge are drawn whole
    pen.clip()
    for (const mark of this.chart.marks) {
      const px = this.xPx(mark.x)
      const fits = px + 4 + pen.measureText(mark.text).width <= CHART_MARGIN.left + this.inner.width
      this.upright(pen, theme.text, px, [2, 3], 0.35)
      this.write(pen, theme.text, mark.text, px + (fits ? 4 : -4), CHART_MARGIN.top + 6, fits ? "left" : "right", 0.7)
    }
    this.chart.lines.filter((line) => !line.hidden).forEach((line) => this.drawLine(pen, line))
    if (this.drag) {
      pen.globalAlpha = 0.12
      pen.fillStyle = theme.text
      pen.fillRect(this.drag[0], CHART_MARGIN.top, this.drag[1] - this.drag[0], this.inner.height)
    } else if (this.pointed()) {
      this.upright(pen, theme.text, this.hover, [], 0.3)
    }
    pen.restore()
  }

  upright(pen, colour, px, dash, alpha) {
    pen.globalAlpha = alpha
    pen.strokeStyle = colour
    pen.lineWidth = 1
    pen.setLineDash(dash)
    pen.beginPath()
    pen.moveTo(Math.round(px) + 0.5, CHART_MARGIN.top)
    pen.lineTo(Math.round(px) + 0.5, CHART_MARGIN.top + this.inner.height)
    pen.stroke()
    pen.setLineDash([])
    pen.globalAlpha = 1
  }

  drawLine(pen, line) {
    const colour = this.colour(line)
    pen.globalAlpha = line.faint ? 0.35 : 1
    pen.strokeStyle = pen.fillStyle = colour
    pen.lineWidth = line.faint ? 1 : 2
    pen.beginPath()
    let down = false
    line.x.forEach((x, row) => {
      const y = line.y[row]
      if (y !== null) {
        pen[down ? "lineTo" : "moveTo"](this.xPx(x), this.yPx(y))
      }
      down = y !== null
    })
    pen.stroke()
    if (line.markers || line.x.length === 1) {
      pen.beginPath()
      line.x.forEach((x, row) => {
        if (line.y[row] !== null) {
          pen.moveTo(this.xPx(x) + 3, this.yPx(line.y[row]))
          pen.arc(this.xPx(x), this.yPx(line.y[row]), 3, 0, 7)
        }
      })
      pen.fill()
    }
    pen.globalAlpha = 1
  }

  pointed() {
    return this.box && this.hover != null && this.hover >= CHART_MARGIN.left && this.hover <= CHART_MARGIN.left + this.inner.width
  }

  drawTip(width) {
    const shown = this.pointed() && !this.drag
    this.tip.hidden = !shown
    if (!shown) {
      return
    }
    const at = this.xAt(this.hover)
    const rows = this.chart.lines.filter((line) => !line.hidden && line.x.length).map((line) => [line, nearestRow(line, at)])
    const head = element("div", "tip-head", `${this.chart.xTitle} ${Math.round(at).toLocaleString("en")}`)
    const told = rows.map(([line, row]) => {
      const entry = element("div", "tip-row", line.y[row] === null ? `${line.name}: –` : `${line.name}: ${valueText(line.y[row], this.chart.percent)}`)
      entry.style.setProperty("--line", this.colour(line))
      entry.classList.toggle("faint", line.faint)
      return entry
    })
    this.tip.replaceChildren(head, ...told)
    const right = this.hover > width / 2
    this.tip.style.left = right ? "" : `${this.hover + 12}px`
    this.tip.style.right = right ? `${width - this.hover + 12}px` : ""
  }
}

function describe(chart) {
  const parts = chart.lines.map((line) => {
    const last = line.y.findLast((value) => value !== null)
    return last === undefined ? `${line.name}: no value yet` : `${line.name}: ${valueText(last, chart.percent)} at the last point`
  })
  return `${chart.title}. ${parts.join(", ")}`
}
