// A network as a drawing. Blocks fold and unfold, the drawing zooms and pans; a click on a single step
// tells Python its value as a new place for the cut. What is unfolded and where one looks lives only here.

const SVG = "http://www.w3.org/2000/svg"
const WIDE = 190
const HIGH = 44
const ACROSS = 26
const DOWN = 30
const HEAVY = ["Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN", "Attention"]
const drawings = new WeakMap()

const node = (name, attributes = {}, text) => {
  const made = document.createElementNS(SVG, name)
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value))
  if (text !== undefined) {
    made.textContent = text
  }
  return made
}
const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text)
const counted = count => (count >= 1e6 ? `${(count / 1e6).toFixed(1)} M` : count >= 1e3 ? `${(count / 1e3).toFixed(0)} k` : String(count))
const shaped = shape => shape.slice(1).join(" × ")

// ---- what is visible: folded blocks, and the single steps of unfolded ones

function ancestors(data) {
  const end = data.nodes.find(one => one.value === data.cut)
  if (!end) {
    return null
  }
  const before = new Map()
  data.edges.forEach(([from, to]) => before.set(to, [...(before.get(to) ?? []), from]))
  const found = new Set([end.id])
  const waiting = [end.id]
  while (waiting.length) {
    for (const from of before.get(waiting.pop()) ?? []) {
      if (!found.has(from)) {
        found.add(from)
        waiting.push(from)
      }
    }
  }
  return found
}

function visible({ data, open }) {
  const kept = ancestors(data)
  const items = new Map()
  const of = new Map()
  data.blocks.forEach((block, index) => {
    const members = data.nodes.filter(one => one.block === block.name)
    if (data.complete && !members.length) {
      return
    }
    if (open.has(block.name)) {
      members.forEach(one => {
        const id = `n${one.id}`
        of.set(one.id, id)
        items.set(id, { id, order: one.id, step: one, block: block.name, name: one.op, words: shaped(one.shape) || "one value" })
        Object.assign(items.get(id), { heavy: HEAVY.includes(one.op), gone: kept && !kept.has(one.id), cut: one.value === data.cut })
      })
      return
    }
    const id = `b${block.name}`
    members.forEach(one => of.set(one.id, id))
    const last = members.at(-1)
    const words = [`${counted(block.weights)} weights`, last && last.shape.length > 1 ? shaped(last.shape) : `${block.nodes} steps`].join(" · ")
    const gone = kept && members.length > 0 && members.every(one => !kept.has(one.id))
    const cut = members.some(one => one.value === data.cut)
    items.set(id, { id, order: members[0]?.id ?? index, block: block.name, folded: true, name: block.name, words, heavy: block.weights > 0, gone, cut })
  })
  const pairs = data.complete ? data.edges.map(([from, to]) => [of.get(from), of.get(to)]) : data.block_edges.map(pair => pair.map(name => `b${name}`))
  const edges = new Map()
  pairs.forEach(([from, to]) => from && to && from !== to && items.has(from) && items.has(to) && edges.set(`${from} ${to}`, [from, to]))
  return { items: [...items.values()].sort((a, b) => a.order - b.order), edges: [...edges.values()] }
}

// ---- layers from top to bottom; in a layer, each near what it reads

function place({ items, edges }) {
  const by = new Map(items.map(item => [item.id, item]))
  const before = new Map(items.map(item => [item.id, []]))
  edges.forEach(([from, to]) => by.get(from).order < by.get(to).order && before.get(to).push(by.get(from)))
  const layers = []
  items.forEach(item => {
    item.layer = before.get(item.id).reduce((most, one) => Math.max(most, one.layer + 1), 0)
    ;(layers[item.layer] ??= []).push(item)
  })
  layers.forEach((layer, index) => {
    const wish = item => {
      const read = before.get(item.id)
      return read.length ? read.reduce((sum, one) => sum + one.x, 0) / read.length : 0
    }
    layer.forEach(item => { item.wish = wish(item) })
    layer.sort((a, b) => a.wish - b.wish || a.order - b.order)
    const middle = layer.reduce((sum, item) => sum + item.wish, 0) / layer.length
    layer.forEach((item, at) => {
      item.x = layer.length === 1 ? item.wish : middle + (at - (layer.length - 1) / 2) * (WIDE + ACROSS)
      item.y = index * (HIGH + DOWN)
    })
  })
  return by
}

function flow(from, to) {
  const [x1, y1, x2, y2] = [from.x, from.y + HIGH / 2, to.x, to.y - HIGH / 2 - 5]
  if (to.layer - from.layer <= 1 || Math.abs(x1 - x2) > WIDE) {
    const half = Math.max(12, (y2 - y1) / 2)
    return `M${x1} ${y1}C${x1} ${y1 + half} ${x2} ${y2 - half} ${x2} ${y2}`
  }
  const out = Math.max(x1, x2) + WIDE / 2 + 12 + Math.min(46, 6 * (to.layer - from.layer)) // past the steps between, at their side
  return `M${x1 + WIDE / 4} ${y1}C${out} ${y1 + 16} ${out} ${y1 + 8} ${out} ${y1 + 34}L${out} ${y2 - 34}C${out} ${y2 - 8} ${out} ${y2 - 16} ${x2 + 10} ${y2}`
}

// ---- drawing

function pressable(element, label, act) {
  element.setAttribute("tabindex", "0")
  element.setAttribute("role", "button")
  element.setAttribute("aria-label", label)
  element.onkeydown = event => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault()
      event.stopPropagation()
      act()
    }
  }
  element.onclick = act
}

function drawItem(drawing, item) {
  const group = node("g", { class: `item${item.folded ? " block" : ""}${item.gone ? " gone" : ""}${item.cut ? " cut" : ""}` })
  group.dataset.name = item.folded ? item.block : item.step.value
  group.setAttribute("transform", `translate(${item.x - WIDE / 2} ${item.y - HIGH / 2})`)
  group.append(
    node("rect", { class: "box", width: WIDE, height: HIGH, rx: item.folded ? 10 : 4 }),
    node("rect", { class: `edge-bar${item.heavy ? "" : " small"}`, x: 5, y: 8, width: 4, height: HIGH - 16, rx: 2 }),
    node("text", { class: "name", x: 16, y: 18 }, short(`${item.folded && drawing.data.complete ? "▸ " : ""}${item.name}`, 24)),
    node("text", { class: "words", x: 16, y: 34 }, short(item.words, 30)),
    node("title", {}, item.folded ? `${item.block}: click to unfold` : `${item.step.name || item.step.op}\n${item.step.value}\nClick to cut here`)
  )
  if (item.folded && drawing.data.complete) {
    pressable(group, `Unfold ${item.block}`, () => drawing.moved || unfold(drawing, item.block))
  } else if (item.step) {
    pressable(group, `Cut after ${item.step.name || item.step.op}`, () => drawing.moved || drawing.setTriggerValue("picked", item.step.value))
  }
  return group
}

function drawGroup(drawing, block, items) {
  const xs = items.map(item => item.x)
  const ys = items.map(item => item.y)
  const [left, top] = [Math.min(...xs) - WIDE / 2 - 12, Math.min(...ys) - HIGH / 2 - 26]
  const [wide, high] = [Math.max(...xs) + WIDE / 2 + 12 - left, Math.max(...ys) + HIGH / 2 + 8 - top]
  const group = node("g", { class: "group" })
  const handle = node("g", { class: "handle" })
  handle.append(node("rect", { x: left, y: top, width: wide, height: 18, rx: 6 }), node("text", { x: left + 8, y: top + 13 }, `▾ ${short(block, 28)}`))
  pressable(handle, `Fold ${block}`, () => drawing.moved || unfold(drawing, block))
  group.append(node("rect", { class: "back", x: left, y: top, width: wide, height: high, rx: 8 }), handle)
  return group
}

function scissors(item) {
  const y = item.y + HIGH / 2 + 9
  const group = node("g", { class: "scissors" })
  group.append(
    node("line", { x1: item.x - WIDE / 2 - 34, x2: item.x + WIDE / 2 + 34, y1: y, y2: y }),
    node("text", { x: item.x + WIDE / 2 + 40, y: y + 4 }, item.folded ? "✂ cut inside" : "✂ cut here")
  )
  return group
}

function draw(drawing) {
  const seen = visible(drawing)
  const by = place(seen)
  const world = drawing.root.querySelector(".world")
  const parts = []
  drawing.open.forEach(block => {
    const inside = seen.items.filter(item => item.block === block && !item.folded)
    if (inside.length) {
      parts.push(drawGroup(drawing, block, inside))
    }
  })
  seen.edges.forEach(([from, to]) => {
    const [a, b] = [by.get(from), by.get(to)]
    parts.push(node("path", { class: `flow${b.gone ? " gone" : ""}`, d: flow(a, b) }))
    parts.push(node("path", { class: "tip", d: `M${b.x} ${b.y - HIGH / 2}l-4 -7h8z` }))
  })
  seen.items.forEach(item => parts.push(drawItem(drawing, item)))
  drawing.cut = seen.items.find(item => item.cut)
  if (drawing.cut) {
    parts.push(scissors(drawing.cut))
  }
  world.replaceChildren(...parts)
  drawing.items = seen.items
}

function unfold(drawing, block) {
  const first = () => drawing.items.find(item => item.block === block)
  const before = first()
  drawing.open.has(block) ? drawing.open.delete(block) : drawing.open.add(block)
  const [x, y] = [before.x, before.y]
  draw(drawing)
  const after = first() // what was clicked stays where it is
  drawing.x += (x - after.x) * drawing.scale
  drawing.y += (y - after.y) * drawing.scale
  look(drawing)
}

// ---- looking around

function look(drawing) {
  drawing.root.querySelector(".world").setAttribute("transform", `translate(${drawing.x} ${drawing.y}) scale(${drawing.scale})`)
}

function zoom(drawing, factor, at) {
  const { width, height } = drawing.surface.getBoundingClientRect()
  const [x, y] = at ?? [width / 2, height / 2]
  const scale = Math.min(2.5, Math.max(0.05, drawing.scale * factor))
  drawing.x = x - ((x - drawing.x) * scale) / drawing.scale
  drawing.y = y - ((y - drawing.y) * scale) / drawing.scale
  drawing.scale = scale
  look(drawing)
}

function bounds(items) {
  const xs = items.map(item => item.x)
  const ys = items.map(item => item.y)
  return { left: Math.min(...xs) - WIDE, right: Math.max(...xs) + WIDE, top: Math.min(...ys) - HIGH, bottom: Math.max(...ys) + HIGH }
}

function whole(drawing, least = 0.05) {
  const { width, height } = drawing.surface.getBoundingClientRect()
  if (!drawing.items.length || !width) {
    return
  }
  const { left, right, top, bottom } = bounds(drawing.items)
  drawing.scale = Math.min(1, Math.max(least, Math.min(width / (right - left), height / (bottom - top))))
  drawing.x = width / 2 - ((left + right) / 2) * drawing.scale
  drawing.y = drawing.scale * (bottom - top) <= height ? height / 2 - ((top + bottom) / 2) * drawing.scale : -top * drawing.scale
  look(drawing)
}

function overview(drawing) {
  whole(drawing, 0.62)
  const { bottom, top } = bounds(drawing.items)
  if ((bottom - top) * drawing.scale > drawing.surface.getBoundingClientRect().height + 1) {
    toCut(drawing) // it does not fit in a size one can read: begin where it matters
  }
}

function toCut(drawing) {
  if (!drawing.cut) {
    return
  }
  const { width, height } = drawing.surface.getBoundingClientRect()
  drawing.scale = Math.max(0.8, Math.min(1.2, drawing.scale))
  drawing.x = width / 2 - drawing.cut.x * drawing.scale
  drawing.y = height * 0.62 - drawing.cut.y * drawing.scale
  look(drawing)
}

function drag(drawing, surface) {
  surface.onpointerdown = event => {
    drawing.from = [event.clientX, event.clientY, drawing.x, drawing.y]
    drawing.moved = false
  }
  surface.onpointermove = event => {
    if (!drawing.from || !event.buttons) {
      return
    }
    const [x, y, wasX, wasY] = drawing.from
    if (!drawing.moved && Math.hypot(event.clientX - x, event.clientY - y) < 5) {
      return
    }
    if (!drawing.moved) {
      drawing.moved = true // from here on it is no click; only now is the pointer taken, or clicks would lose their target
      surface.setPointerCapture(event.pointerId)
      surface.classList.add("moving")
    }
    drawing.x = wasX + event.clientX - x
    drawing.y = wasY + event.clientY - y
    look(drawing)
  }
  surface.onpointerup = surface.onpointercancel = () => {
    drawing.from = null
    surface.classList.remove("moving")
  }
  surface.onwheel = event => {
    if (!event.ctrlKey && !event.metaKey && !drawing.root.contains(drawing.root.getRootNode().activeElement)) {
      return // the page scrolls until the drawing was clicked
    }
    event.preventDefault()
    const frame = drawing.surface.getBoundingClientRect()
    zoom(drawing, Math.exp(-event.deltaY * 0.0015), [event.clientX - frame.left, event.clientY - frame.top])
  }
}

function keys(drawing, event) {
  const moves = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }
  if (event.key in moves) {
    event.preventDefault()
    drawing.x += moves[event.key][0]
    drawing.y += moves[event.key][1]
    look(drawing)
  } else if (event.key === "+" || event.key === "=" || event.key === "-") {
    zoom(drawing, event.key === "-" ? 0.8 : 1.25)
  }
  event.stopPropagation()
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".frame")
  const fresh = !drawings.has(root)
  const drawing = drawings.get(root) ?? { root, surface: root.querySelector(".drawing"), open: new Set(), x: 0, y: 0, scale: 1 }
  const other = drawing.data && drawing.data.blocks.map(one => one.name).join() !== data.blocks.map(one => one.name).join()
  drawings.set(root, Object.assign(drawing, { data, setTriggerValue }))
  if (other) {
    drawing.open.clear()
  }
  const drawn = `${data.cut}\n${data.nodes.length}`
  if (fresh || other || drawing.drawn !== drawn) {
    drawing.drawn = drawn
    draw(drawing)
  }
  const at = name => root.querySelector(name)
  at(".closer").onclick = () => zoom(drawing, 1.3)
  at(".farther").onclick = () => zoom(drawing, 1 / 1.3)
  at(".whole").onclick = () => whole(drawing)
  at(".to-cut").onclick = () => toCut(drawing)
  at(".fold").onclick = () => { drawing.open.clear(); draw(drawing); overview(drawing) }
  parentElement.querySelector(".hint").textContent = data.complete
    ? "Click a block to unfold it, a step inside to cut there. Drag to move, wheel to zoom after a click."
    : "This network is so large that only its blocks are drawn."
  drag(drawing, at(".drawing"))
  root.onkeydown = event => keys(drawing, event)
  fresh || other ? overview(drawing) : look(drawing)
}
