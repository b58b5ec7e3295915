// Sorting pictures into classes: click or use arrows and Space to select, then a number key or a class button.
// Python saves and sends the pictures that are left; what is selected lives only here.

const sorters = new WeakMap()

const tiles = sorter => [...sorter.wall.children]
const selected = sorter => tiles(sorter).filter(tile => tile.getAttribute("aria-pressed") === "true")

function say(sorter, words) {
  const count = selected(sorter).length
  sorter.root.querySelector(".said").textContent =
    words ?? (count ? `${count} selected. Press a number, or click a class.` : "Click pictures to select them (Shift: a range, A: all), then press a number.")
}

function press(sorter, tile, event) {
  const all = tiles(sorter)
  const at = all.indexOf(tile)
  if (event.shiftKey && sorter.anchor >= 0) {
    const [from, to] = [Math.min(sorter.anchor, at), Math.max(sorter.anchor, at)]
    all.slice(from, to + 1).forEach(one => one.setAttribute("aria-pressed", "true"))
  } else {
    tile.setAttribute("aria-pressed", String(tile.getAttribute("aria-pressed") !== "true"))
    sorter.anchor = at
  }
  say(sorter)
}

function assign(sorter, name) {
  const focused = sorter.root.getRootNode().activeElement
  const chosen = selected(sorter)
  const these = chosen.length ? chosen : tiles(sorter).filter(tile => tile === focused)
  if (!these.length) {
    return say(sorter, "Select a picture first.")
  }
  these.forEach(tile => {
    tile.classList.add("leaving")
    tile.setAttribute("aria-pressed", "false")
  })
  sorter.anchor = -1
  say(sorter, `Saving ${these.length} as ${name}…`)
  const items = these.map(tile => ({ id: Number(tile.dataset.id), revision: Number(tile.dataset.revision) }))
  sorter.setTriggerValue("assigned", { name, items })
}

// Agree to what is suggested for the selected pictures, or the focused one; pictures without a suggestion stay as they are.
function agree(sorter) {
  const focused = sorter.root.getRootNode().activeElement
  const chosen = selected(sorter)
  const these = (chosen.length ? chosen : tiles(sorter).filter(tile => tile === focused)).filter(tile => tile.dataset.suggested)
  if (!these.length) {
    return say(sorter, "Select pictures with a suggestion first.")
  }
  these.forEach(tile => {
    tile.classList.add("leaving")
    tile.setAttribute("aria-pressed", "false")
  })
  sorter.anchor = -1
  say(sorter, `Agreeing to ${these.length}…`)
  sorter.setTriggerValue("assigned", { agree: true, items: these.map(tile => ({ id: Number(tile.dataset.id), revision: Number(tile.dataset.revision) })) })
}

function onKey(sorter, event) {
  const all = tiles(sorter)
  const at = all.indexOf(sorter.root.getRootNode().activeElement)
  const across = Math.max(1, getComputedStyle(sorter.wall).gridTemplateColumns.split(" ").length)
  const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across }
  const digit = /^[1-9]$/.test(event.key) ? Number(event.key) : 0
  event.stopPropagation() // or Streamlit takes letters as its own shortcuts
  if (event.key in moves) {
    event.preventDefault()
    all[Math.min(all.length - 1, Math.max(0, at + moves[event.key]))]?.focus()
  } else if (digit && sorter.data.classes[digit - 1]) {
    assign(sorter, sorter.data.classes[digit - 1])
  } else if (event.key.toLowerCase() === "y" && !event.ctrlKey && !event.metaKey) {
    agree(sorter)
  } else if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault()
    sorter.setTriggerValue("undo", true)
  } else if (event.key.toLowerCase() === "a") {
    event.preventDefault()
    const every = selected(sorter).length < all.length
    all.forEach(tile => tile.setAttribute("aria-pressed", String(every)))
    say(sorter)
  } else if (event.key === "Escape") {
    all.forEach(tile => tile.setAttribute("aria-pressed", "false"))
    say(sorter)
  }
}

function tileNode() {
  const tile = document.createElement("button")
  tile.type = "button"
  tile.className = "tile"
  const picture = document.createElement("img")
  picture.decoding = "async"
  const suggested = document.createElement("span")
  suggested.className = "suggested"
  tile.append(picture, document.createElement("span"), suggested)
  return tile
}

function drawWall(sorter) {
  const kept = new Set(selected(sorter).map(tile => tile.dataset.id))
  const { items } = sorter.data
  while (sorter.wall.children.length > items.length) {
    sorter.wall.lastElementChild.remove()
  }
  items.forEach((item, index) => {
    const tile = sorter.wall.children[index] ?? sorter.wall.appendChild(tileNode())
    const [picture, words, suggested] = tile.children
    tile.classList.remove("leaving")
    tile.dataset.id = item.id
    tile.dataset.revision = item.revision
    tile.setAttribute("aria-pressed", String(kept.has(String(item.id))))
    tile.dataset.suggested = item.suggested ?? ""
    tile.setAttribute("aria-label", item.suggested ? `${item.name}, looks like ${item.suggested}` : item.name)
    suggested.textContent = item.suggested ? `${item.suggested}?` : ""
    suggested.hidden = !item.suggested
    if (picture.getAttribute("src") !== item.source) {
      picture.src = item.source
    }
    picture.alt = ""
    words.textContent = item.name
    tile.onclick = event => press(sorter, tile, event)
  })
}

function agreeButton(sorter) {
  const button = document.createElement("button")
  button.type = "button"
  button.className = "class agree"
  button.append(Object.assign(document.createElement("span"), { className: "key", textContent: "Y" }), "Agree to the suggestion")
  button.onclick = () => agree(sorter)
  return button
}

function drawClasses(sorter) {
  const bar = sorter.root.querySelector(".bar")
  bar.replaceChildren(
    ...sorter.data.classes.map((name, index) => {
      const button = document.createElement("button")
      button.type = "button"
      button.className = "class"
      const words = document.createElement("span")
      words.textContent = name
      if (index < 9) {
        const key = document.createElement("span")
        key.className = "key"
        key.textContent = String(index + 1)
        button.append(key)
      }
      button.append(words)
      button.onclick = () => assign(sorter, name)
      return button
    }),
    agreeButton(sorter),
  )
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".sorter")
  const known = sorters.get(root)
  const sorter = known ?? { root, wall: root.querySelector(".wall"), anchor: -1, classes: "" }
  Object.assign(sorter, { data, setTriggerValue })
  sorters.set(root, sorter)
  drawWall(sorter)
  const classes = JSON.stringify(data.classes)
  if (sorter.classes !== classes) {
    sorter.classes = classes
    drawClasses(sorter)
  }
  root.querySelector(".agree").hidden = !data.items.some(item => item.suggested)
  root.onkeydown = event => onKey(sorter, event)
  say(sorter)
  return () => sorters.delete(root)
}
