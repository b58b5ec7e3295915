// A grid of picture buttons. A click, Enter or Space tells Python which picture was picked.
// Labels lie over each picture as an SVG in the picture's own pixels, cut to the tile exactly as the picture is.

const SVG = "http://www.w3.org/2000/svg"

function tileNode() {
  const button = document.createElement("button")
  button.type = "button"
  button.className = "tile"
  const frame = document.createElement("span")
  frame.className = "frame"
  const picture = document.createElement("img")
  picture.loading = "lazy"
  picture.decoding = "async"
  const labels = document.createElementNS(SVG, "svg")
  labels.setAttribute("aria-hidden", "true")
  frame.append(picture, labels)
  const title = document.createElement("span")
  title.className = "title"
  const words = document.createElement("span")
  words.className = "words"
  button.append(frame, title, words)
  return button
}

// ---- labels

function node(name, attributes) {
  const made = document.createElementNS(SVG, name)
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value))
  return made
}

function shapeNode(shape, [width, height]) {
  const look = { stroke: shape.colour, fill: shape.colour }
  if (shape.box) {
    const [x1, y1, x2, y2] = shape.box
    return node("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1, ...look })
  }
  if (shape.rings) {
    const path = shape.rings.map(ring => `M${ring.map((value, index) => (index && index % 2 === 0 ? `L${value}` : value)).join(" ")}Z`)
    return node("path", { d: path.join(""), ...look })
  }
  if (shape.point) {
    const [x, y] = shape.point
    return node("circle", { cx: x, cy: y, r: Math.max(width, height) / 60, ...look })
  }
  const id = `mask-${Math.random().toString(36).slice(2)}`
  const group = node("g", {})
  const mask = node("mask", { id, "mask-type": "alpha", style: "mask-type: alpha" })
  mask.append(node("image", { href: shape.mask, width, height, preserveAspectRatio: "none" }))
  group.append(mask, node("rect", { class: "area", width, height, fill: shape.colour, mask: `url(#${id})` }))
  return group
}

function drawLabels(svg, shapes) {
  const told = JSON.stringify(shapes ?? null)
  if (svg.dataset.told === told) {
    return
  }
  svg.dataset.told = told
  svg.replaceChildren()
  svg.style.display = shapes ? "" : "none"
  if (shapes) {
    svg.setAttribute("viewBox", `0 0 ${shapes.size.join(" ")}`)
    svg.append(...shapes.shapes.map(shape => shapeNode(shape, shapes.size)))
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  const wall = parentElement.querySelector(".wall")
  wall.classList.toggle("wide", Boolean(data.wide))
  wall.classList.toggle("whole", Boolean(data.whole))
  wall.classList.toggle("large", Boolean(data.large))
  while (wall.children.length > data.tiles.length) {
    wall.lastElementChild.remove()
  }
  data.tiles.forEach((tile, index) => {
    const button = wall.children[index] ?? wall.appendChild(tileNode())
    const [frame, title, words] = button.children
    const [picture, labels] = frame.children
    if (picture.getAttribute("src") !== tile.source) {
      picture.src = tile.source
    }
    picture.alt = `${tile.title} ${tile.words}`.trim()
    labels.setAttribute("preserveAspectRatio", data.whole ? "xMidYMid meet" : "xMidYMid slice")
    drawLabels(labels, tile.shapes)
    title.textContent = tile.title
    words.textContent = tile.words
    button.dataset.tone = tile.tone
    button.setAttribute("aria-pressed", String(tile.id === data.chosen))
    button.onclick = () => setTriggerValue("picked", tile.id)
  })
}
