// A wall of cards: the pictures of one case side by side, what was seen, and buttons. A press goes to Python, which mends and sends what is left.

const SVG = "http://www.w3.org/2000/svg"

function boxesNode(view) {
  const layer = document.createElementNS(SVG, "svg")
  layer.setAttribute("viewBox", `0 0 ${view.width} ${view.height}`)
  layer.setAttribute("preserveAspectRatio", "xMidYMid meet")
  const unit = Math.max(view.width, view.height) / 100
  // those that stand out are drawn last, on top of the others
  for (const [x1, y1, x2, y2, name, main] of [...view.boxes].sort((one, other) => one[5] - other[5])) {
    const box = document.createElementNS(SVG, "rect")
    const wider = main ? Math.max(0, 3 * unit - (x2 - x1)) / 2 : 0 // one that is in question is seen however small it is
    const higher = main ? Math.max(0, 3 * unit - (y2 - y1)) / 2 : 0
    box.setAttribute("x", x1 - wider)
    box.setAttribute("y", y1 - higher)
    box.setAttribute("width", Math.max(0, x2 - x1) + 2 * wider)
    box.setAttribute("height", Math.max(0, y2 - y1) + 2 * higher)
    box.setAttribute("class", main ? "box main" : "box")
    box.setAttribute("stroke-width", main ? 0.9 * unit : 0.4 * unit)
    const words = document.createElementNS(SVG, "title")
    words.textContent = name
    box.append(words)
    layer.append(box)
  }
  return layer
}

function viewNode(view) {
  const figure = document.createElement("figure")
  const frame = document.createElement("div")
  frame.className = view.boxes.length ? "frame whole" : "frame"
  const picture = document.createElement("img")
  picture.loading = "lazy"
  picture.decoding = "async"
  picture.src = view.source
  picture.alt = `${view.title} ${view.words}`.trim()
  frame.append(picture)
  if (view.boxes.length) {
    frame.append(boxesNode(view))
  }
  const title = document.createElement("figcaption")
  title.textContent = view.title
  const words = document.createElement("span")
  words.className = "words"
  words.textContent = view.words
  words.title = view.words
  figure.append(frame, title, words)
  return figure
}

function cardNode(card, press) {
  const node = document.createElement("div")
  node.className = "card"
  node.role = "listitem"
  node.dataset.subject = card.subject
  const views = document.createElement("div")
  views.className = `views of-${Math.min(3, card.views.length)}`
  views.append(...card.views.map(viewNode))
  const words = document.createElement("p")
  words.textContent = card.words
  const choices = document.createElement("div")
  choices.className = "choices"
  for (const choice of card.choices) {
    const button = document.createElement("button")
    button.type = "button"
    button.className = choice.main ? "main" : ""
    button.textContent = choice.words
    button.onclick = () => {
      node.classList.add("leaving") // Python may refuse; then the card comes back as it was
      press({ subject: card.subject, fix: choice.fix, label: choice.label })
    }
    choices.append(button)
  }
  node.append(views, ...(card.words ? [words] : []), choices)
  return node
}

export default function ({ data, parentElement, setTriggerValue }) {
  const wall = parentElement.querySelector(".cases")
  const press = said => setTriggerValue("pressed", said)
  const known = new Map([...wall.children].map(node => [`${node.dataset.subject} ${node.dataset.drawn}`, node]))
  const nodes = data.cards.map(card => {
    const drawn = JSON.stringify(card)
    const node = known.get(`${card.subject} ${drawn}`) ?? cardNode(card, press)
    node.dataset.drawn = drawn
    node.classList.remove("leaving")
    return node
  })
  wall.replaceChildren(...nodes)
}
