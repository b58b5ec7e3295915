// Sorting pictures into classes: click or use arrows and Space to select, then a number key or a class button.
// Python saves and sends the pictures that are left; what is selected lives only here.
//
// Where a picture can have several classes (data.several), a number takes a class on or off and the pictures stay. Such a step shows at once, and is
// sent as the whole answer of each picture; while one message is under way the next steps wait, so that a fast hand never works on an old revision.
// Steps stay apart in a message, since Undo takes back one at a time.

const sorters = new WeakMap()

const tiles = sorter => [...sorter.wall.children]
const selected = sorter => tiles(sorter).filter(tile => tile.getAttribute("aria-pressed") === "true")

function say(sorter, words) {
  const count = selected(sorter).length
  const said = sorter.root.querySelector(".said")
  if (sorter.data.several) {
    const hint = "Click pictures to select them (Shift: a range, A: all), then press a number: again takes it off. 0: none of these. N: the next pictures."
    said.textContent = words ?? (count ? `${count} selected. Numbers put a class on or take it off, 0 says none of these, Esc selects nothing.` : hint)
    return
  }
  said.textContent =
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

function meant(sorter) {
  const focused = sorter.root.getRootNode().activeElement
  const chosen = selected(sorter)
  return chosen.length ? chosen : tiles(sorter).filter(tile => tile === focused)
}

function assign(sorter, name) {
  const these = meant(sorter)
  if (sorter.data.several) {
    return toggle(sorter, name, these)
  }
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
  const these = meant(sorter).filter(tile => tile.dataset.suggested)
  if (!these.length) {
    return say(sorter, "Select pictures with a suggestion first.")
  }
  if (sorter.data.several) {
    return answer(sorter, these, item => ({ labels: [...item.labels, ...item.proposed.map(one => one.label)], none: false }))
  }
  these.forEach(tile => {
    tile.classList.add("leaving")
    tile.setAttribute("aria-pressed", "false")
  })
  sorter.anchor = -1
  say(sorter, `Agreeing to ${these.length}…`)
  sorter.setTriggerValue("assigned", { agree: true, items: these.map(tile => ({ id: Number(tile.dataset.id), revision: Number(tile.dataset.revision) })) })
}

// ---------------------------------------------------------------- several classes a picture

const itemOf = (sorter, tile) => sorter.known.get(Number(tile.dataset.id))

const unanswered = sorter => [...(sorter.sent?.steps ?? []), ...sorter.queue]

// What this hand has said of a picture, if that is not answered yet.
const pending = (sorter, item) => unanswered(sorter).flat().findLast(edit => edit.id === item.id)

const shown = (sorter, item) => pending(sorter, item) ?? { labels: item.labels, none: item.none }

function answer(sorter, these, change) {
  if (!these.length) {
    return say(sorter, "Select a picture first.")
  }
  const step = these.map(tile => {
    const item = itemOf(sorter, tile)
    const { labels, none } = change({ ...item, ...shown(sorter, item) })
    return { id: item.id, labels: [...new Set(labels)].sort(), none }
  })
  sorter.queue.push(step)
  these.forEach(tile => drawChips(sorter, tile, itemOf(sorter, tile)))
  send(sorter)
}

function toggle(sorter, name, these) {
  const all = these.every(tile => shown(sorter, itemOf(sorter, tile)).labels.includes(name))
  answer(sorter, these, ({ labels }) => ({ labels: all ? labels.filter(one => one !== name) : [...labels, name], none: false }))
}

function toggleNone(sorter) {
  const these = meant(sorter)
  const all = these.every(tile => shown(sorter, itemOf(sorter, tile)).none)
  answer(sorter, these, () => ({ labels: [], none: !all }))
}

const PATIENCE_MS = 15000 // a message that is not answered by then is sent again, as a part of the next

function send(sorter) {
  if (!sorter.queue.length || (sorter.sent && Date.now() - sorter.sent.at < PATIENCE_MS)) {
    return
  }
  sorter.sent = { token: Date.now(), at: Date.now(), steps: unanswered(sorter) }
  sorter.queue = []
  const ids = [...new Set(sorter.sent.steps.flat().map(edit => edit.id))]
  say(sorter, `Saving ${ids.length}…`)
  const revisions = ids.map(id => [id, sorter.known.get(id).revision])
  sorter.setTriggerValue("tagged", { token: sorter.sent.token, steps: sorter.sent.steps, revisions })
}

// Python has saved a message, or refused some of it: go on with what came meanwhile, except for pictures that somebody else has changed.
function heard(sorter) {
  if (sorter.sent?.token === sorter.data.answered) {
    sorter.sent = null
    sorter.queue = sorter.queue.map(step => step.filter(edit => !sorter.data.refused.includes(edit.id))).filter(step => step.length)
  }
}

function undo(sorter) {
  if (sorter.sent) {
    sorter.undoing = true // once what is under way has arrived
  } else {
    sorter.undoing = false
    sorter.setTriggerValue("undo", true)
  }
}

function chip(words, kind, title) {
  return Object.assign(document.createElement("span"), { className: `chip ${kind}`, textContent: words, title: title ?? words })
}

function drawChips(sorter, tile, item) {
  const { labels, none } = shown(sorter, item)
  const open = pending(sorter, item) ? [] : item.proposed
  const proposed = open.map(({ label, sure }) => {
    const one = chip(`${label} ${sure}?`, "proposed", `Looks like ${label}. Click to agree.`)
    one.onclick = event => {
      event.stopPropagation()
      answer(sorter, [tile], said => ({ labels: [...said.labels, label], none: false }))
    }
    return one
  })
  tile.querySelector(".chips").replaceChildren(...labels.map(label => chip(label, "tag")), ...(none ? [chip("none of these", "none")] : []), ...proposed)
  tile.dataset.suggested = open.length ? "yes" : ""
  const said = labels.length ? `shows ${labels.join(", ")}` : none ? "shows none of these" : "not tagged yet"
  tile.setAttribute("aria-label", `${item.name}, ${said}${open.length ? `, looks like ${open.map(one => one.label).join(", ")}` : ""}`)
}

// ---------------------------------------------------------------- keys and drawing

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
  } else if (sorter.data.several && event.key === "0") {
    toggleNone(sorter)
  } else if (sorter.data.several && event.key.toLowerCase() === "n" && !event.ctrlKey && !event.metaKey) {
    sorter.setTriggerValue("next", true)
  } else if (event.key.toLowerCase() === "y" && !event.ctrlKey && !event.metaKey) {
    agree(sorter)
  } else if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault()
    undo(sorter)
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
  const chips = document.createElement("span")
  chips.className = "chips"
  tile.append(picture, document.createElement("span"), suggested, chips)
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
    if (sorter.data.several) {
      drawChips(sorter, tile, item)
    }
  })
}

function keyButton(className, key, words, pressed) {
  const button = document.createElement("button")
  button.type = "button"
  button.className = className
  button.append(Object.assign(document.createElement("span"), { className: "key", textContent: key }), words)
  button.onclick = pressed
  return button
}

function agreeButton(sorter) {
  return keyButton("class agree", "Y", "Agree to the suggestion", () => agree(sorter))
}

function noneButton(sorter) {
  return keyButton("class nothing", "0", "None of these", () => toggleNone(sorter))
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
    ...(sorter.data.several ? [noneButton(sorter)] : []),
    agreeButton(sorter),
  )
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".sorter")
  const known = sorters.get(root)
  const sorter = known ?? { root, wall: root.querySelector(".wall"), anchor: -1, classes: "", known: new Map(), queue: [], sent: null, undoing: false }
  Object.assign(sorter, { data, setTriggerValue })
  sorters.set(root, sorter)
  data.items.forEach(item => sorter.known.set(item.id, item))
  heard(sorter)
  drawWall(sorter)
  const classes = JSON.stringify(data.classes)
  if (sorter.classes !== classes) {
    sorter.classes = classes
    drawClasses(sorter)
  }
  root.querySelector(".agree").hidden = !data.items.some(item => item.suggested || item.proposed?.length)
  root.onkeydown = event => onKey(sorter, event)
  say(sorter)
  if (!sorter.sent) {
    setTimeout(() => (sorter.undoing && !sorter.queue.length ? undo(sorter) : send(sorter)))
  }
  return () => sorters.delete(root)
}
