// What moves on the page of a run: progress, figures, charts, notes. This script asks the server for them and touches only what changed;
// Python runs the page again only when a run begins, pauses, ends ... (`changed`). Nothing here is animated: where a browser draws on
// the processor, sixty frames a second of a spinner would take a good part of what trains.

const QUICK_MS = 1000 // who has just come, or moves the pointer, is looking
const QUICK_FOR_MS = 20_000
const CALM_MS = 6000 // a page that is only left open: every look takes time from what trains
const RESTING_MS = 60_000 // nothing is at work; the look keeps the warm worker, and finds what was started elsewhere
const TELL_AGAIN_MS = 5000
const TOUCHES = ["pointermove", "pointerdown", "keydown", "wheel"]

let lookedAt = "" // the run that the page showed last: a change of theme mounts a new LiveRun of the same one

function element(name, className = "", text = "") {
  const made = document.createElement(name)
  made.className = className
  made.textContent = text
  return made
}

function setText(node, text) {
  if (node.textContent !== text) {
    node.textContent = text
  }
}

function withCount(parent, count, make) {
  while (parent.children.length > count) {
    parent.lastElementChild.remove()
  }
  while (parent.children.length < count) {
    parent.append(make())
  }
  return [...parent.children]
}

class LiveRun {
  constructor(root) {
    this.root = root
    this.charts = new Map()
    this.part = (name) => root.querySelector(`.live-${name}`)
    this.onVisible = () => (document.hidden ? clearTimeout(this.timer) : this.look())
    this.onTouch = () => this.touched()
  }

  given(data, tell) {
    const news = this.data?.marks !== data.marks || this.data?.address !== data.address
    if (this.data?.address !== data.address) {
      this.at = -1
      this.charts.forEach((chart) => chart.end())
      this.charts.clear()
    }
    Object.assign(this, { data, tell, theme: null })
    if (news) {
      this.since = performance.now()
      this.told = -Infinity
    }
    this.unlisten()
    document.addEventListener("visibilitychange", this.onVisible)
    TOUCHES.forEach((kind) => document.addEventListener(kind, this.onTouch, { passive: true }))
    if (data.now && data.address !== lookedAt) {
      lookedAt = data.address
      this.root.closest("[data-testid=stMain]")?.scrollTo(0, 0) // it was started or opened far down; how it goes stands at the top
    }
    this.root.hidden = !data.now
    if (data.now) {
      this.show(data.now)
    }
    if (news && data.active && !document.hidden) {
      this.look() // what came with the page may be as old as its last run: a change of theme mounts this anew
    } else {
      this.wait()
    }
  }

  end() {
    clearTimeout(this.timer)
    this.unlisten()
    this.charts.forEach((chart) => chart.end())
    this.charts.clear()
    this.data = null
  }

  unlisten() {
    document.removeEventListener("visibilitychange", this.onVisible)
    TOUCHES.forEach((kind) => document.removeEventListener(kind, this.onTouch))
  }

  touched() {
    const calm = performance.now() - this.since >= QUICK_FOR_MS
    if (this.data?.active && performance.now() - this.since > QUICK_MS) {
      this.since = performance.now()
      if (calm) {
        this.look()
      }
    }
  }

  wait() {
    clearTimeout(this.timer)
    if (!document.hidden && this.data) {
      const quick = performance.now() - this.since < QUICK_FOR_MS
      this.timer = setTimeout(() => this.look(), this.data.active ? (quick ? QUICK_MS : CALM_MS) : RESTING_MS)
    }
  }

  async look() {
    clearTimeout(this.timer)
    const asked = this.data
    if (!asked) {
      return
    }
    try {
      const answer = await fetch(`${asked.address}?at=${this.at ?? -1}&marks=${encodeURIComponent(asked.marks)}`)
      const found = answer.ok ? await answer.json() : null
      if (this.data !== asked) {
        return // the page was run again meanwhile, and has newer things
      }
      if (answer.status === 404 || found?.changed) {
        this.tellChanged()
      }
      if (found?.words !== undefined) {
        this.show(found)
      }
    } catch (error) {
      if (!(error instanceof TypeError)) {
        throw error // not a server that is away for a while, which Streamlit says itself
      }
    } finally {
      if (this.data === asked) {
        this.wait()
      }
    }
  }

  tellChanged() {
    if (performance.now() - this.told > TELL_AGAIN_MS) {
      this.told = performance.now()
      this.tell("changed", Date.now())
    }
  }

  themeOf() {
    if (!this.theme) {
      const style = getComputedStyle(this.root)
      const value = (name) => style.getPropertyValue(name).trim()
      const colours = value("--st-chart-categorical-colors").split(",")
      this.theme = {
        font: value("--st-font") || "sans-serif",
        text: value("--st-text-color"),
        grid: value("--st-border-color-light") || value("--st-border-color"),
        colours: colours.map((colour) => colour.trim()).filter(Boolean),
      }
    }
    return this.theme
  }

  show(now) {
    setText(this.part("words"), now.words)
    const bar = this.part("bar")
    bar.setAttribute("aria-valuenow", Math.round(100 * now.share))
    bar.firstElementChild.style.width = `${100 * now.share}%`
    this.showFigures(now.figures)
    this.showNotes(now.notes)
    this.at = now.at
    now.charts?.forEach((chart) => {
      if (!this.charts.has(chart.id)) {
        this.charts.set(chart.id, new LiveChart(this.part("charts"), chart.id, () => this.themeOf()))
      }
      this.charts.get(chart.id).show(chart)
    })
  }

  showFigures(figures) {
    const cards = withCount(this.part("figures"), figures.length, () => {
      const card = element("div", "figure")
      const help = element("span", "figure-help", "help")
      help.tabIndex = 0
      help.setAttribute("role", "img")
      const head = element("div", "figure-head")
      head.append(element("span"), help)
      card.append(head, element("div", "figure-value"))
      return card
    })
    figures.forEach((figure, index) => {
      const [head, value] = cards[index].children
      const [title, help] = head.children
      setText(title, figure.title)
      setText(value, figure.value)
      if (help.dataset.words !== figure.help) {
        help.dataset.words = figure.help
        help.setAttribute("aria-label", figure.help)
      }
    })
  }

  showNotes(notes) {
    const rows = withCount(this.part("notes"), notes.length, () => {
      const row = element("p")
      const icon = element("span", "note-icon")
      icon.setAttribute("aria-hidden", "true")
      row.append(icon, element("span"))
      return row
    })
    notes.forEach((note, index) => {
      const [icon, text] = rows[index].children
      setText(icon, note.icon)
      setText(text, note.text)
    })
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".graft-live")
  root.live ??= new LiveRun(root)
  root.live.given(data, setTriggerValue)
  return () => root.live.end()
}
