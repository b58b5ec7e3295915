// What stands round the stage: tools, classes, looks, the list of marks (which also reads them out), saving, and the choice between two versions.

const LOOKS = { brightness: ["Brightness", 0.4, 3, 0.05], opacity: ["Fill", 0, 0.8, 0.05], brush: ["Brush", 1, 100, 1] }

function button(words, attributes, key = "") {
  return element("button", { type: "button", ...attributes }, ...(key ? [element("kbd", {}, key)] : []), element("span", {}, words))
}

function buildPanels(board) {
  const plain = (words, title, action, name) => button(words, { class: `plain ${name}`, title, "aria-label": title, onclick: action })
  board.q(".tools").replaceChildren(
    ...board.tools.map(tool => {
      const [key, words, title] = TOOLS[tool]
      return button(words, { class: `tool ${tool}`, title, "aria-pressed": "false", onclick: () => takeTool(board, tool) }, key)
    }),
  )
  board.q(".actions").replaceChildren(
    plain("↶", "Undo (Ctrl Z)", () => unlocked(board, undo), "undo"),
    plain("↷", "Redo (Ctrl Shift Z)", () => unlocked(board, redo), "redo"),
    plain("−", "Zoom out (-)", () => zoom(board, 0.8), "out"),
    plain("+", "Zoom in (+)", () => zoom(board, 1.25), "in"),
    plain("Fit", "Show the whole picture (F)", () => fit(board), "fit"),
    plain("Delete", "Remove what is selected (Delete)", () => unlocked(board, removeSelected), "remove"),
    plain("Copy last", "Copy the labels of the previous picture (C)", () => unlocked(board, copyPrevious), "copy"),
    plain("Hide", "Hide the labels, show them again (H)", () => toggleHidden(board), "hide"),
    plain("Full", "Fill the screen, and back (G)", () => toggleFull(board), "full"),
    plain("?", "All keys (?)", () => toggleHelp(board), "keys"),
  )
  board.q(".looks").replaceChildren(
    ...Object.entries(LOOKS).map(([name, [words, min, max, by]]) => {
      const slider = element("input", { type: "range", min, max, step: by, "aria-label": words, oninput: event => setLook(board, name, Number(event.target.value)) })
      slider.onchange = () => board.root.focus({ preventScroll: true })
      return element("label", { class: `look ${name}` }, element("span", {}, words), slider)
    }),
  )
  board.q(".previous").onclick = () => go(board, -1)
  board.q(".next").onclick = () => go(board, 1)
  board.q(".done").onclick = () => done(board)
}

function setLook(board, name, value) {
  board.looks = { ...board.looks, [name]: value }
  remember("graft-looks", board.looks)
  refresh(board)
}

function buildClasses(board) {
  board.q(".classes").replaceChildren(
    ...board.classes.map((name, place) => {
      const made = button(name, { class: "class", role: "radio", onclick: () => pickClass(board, place) }, place < 9 ? String(place + 1) : "")
      made.style.setProperty("--own", colourOf(board, name))
      return made
    }),
  )
}

// Bring everything round the stage up to date, and paint.
function refresh(board) {
  for (const node of board.q(".tools").querySelectorAll(".tool")) {
    node.setAttribute("aria-pressed", String(node.classList.contains(board.tool)))
  }
  ;[...board.q(".classes").children].forEach((node, place) => node.setAttribute("aria-checked", String(place === board.classIndex)))
  Object.keys(LOOKS).forEach(name => {
    board.q(`.look.${name} input`).value = board.looks[name]
  })
  board.q(".look.brush").hidden = !["brush", "eraser"].includes(board.tool)
  board.q(".actions .hide").setAttribute("aria-pressed", String(board.hidden))
  board.stage.dataset.tool = board.tool
  if (board.item) {
    board.q(".actions .undo").disabled = !board.history.past.length
    board.q(".actions .redo").disabled = !board.history.future.length
    board.q(".actions .remove").disabled = board.selected < 0
    listMarks(board)
    showPlace(board)
    showSaving(board)
    showChoice(board)
    paint(board)
  }
}

function listMarks(board) {
  const list = board.q(".marks")
  const focused = [...list.children].findIndex(node => node.contains(list.getRootNode().activeElement))
  list.replaceChildren(
    ...board.marks.map((mark, index) => {
      const suggested = mark.by === "model"
      const words = element("span", { class: "words" }, element("b", {}, mark.label), element("small", {}, suggested ? `suggested${mark.score === null ? "" : ` ${percent(mark.score)}`}, ${KIND_WORDS[mark.kind]}` : describe(mark)))
      const dot = element("i", { class: suggested ? "dot proposed" : "dot" })
      dot.style.setProperty("--own", colourOf(board, mark.label))
      const row = element("li", {}, element("button", { type: "button", class: "mark", "aria-pressed": String(index === board.selected), onclick: () => choose(board, index) }, dot, words))
      const small = (sign, title, action) => element("button", { type: "button", class: "small", title, "aria-label": `${title}: ${mark.label}`, onclick: () => (choose(board, index), unlocked(board, action)) }, sign)
      if (suggested) {
        row.append(small("✓", "Agree", agree))
      }
      row.append(small("✕", suggested ? "Turn down" : "Remove", suggested ? turnDown : removeSelected))
      return row
    }),
  )
  if (focused >= 0) {
    list.children[Math.min(focused, list.children.length - 1)]?.querySelector("button").focus()
  }
  const open = suggestions(board).length
  board.q(".count").textContent = board.marks.length ? countWords(board.marks.length) : "Nothing is labelled here yet"
  board.q(".suggested").replaceChildren(
    ...(open
      ? [
          element("button", { type: "button", class: "plain agree", onclick: () => (choose(board, -1), unlocked(board, agree)) }, `Agree to ${open === 1 ? "the suggestion" : `all ${open}`} (Y)`),
          element("button", { type: "button", class: "plain", onclick: () => (choose(board, -1), unlocked(board, turnDown)) }, "Turn down (N)"),
        ]
      : []),
  )
}

function showPlace(board) {
  const place = board.queue.indexOf(board.item.id)
  board.q(".place").textContent = `${place + 1} of ${board.queue.length}${board.item.reviewed ? " ✓" : ""}`
  board.q(".place").title = `${board.item.name}, ${board.item.width} × ${board.item.height}`
  board.q(".previous").disabled = place <= 0
  board.root.setAttribute("aria-label", `Drawing board: ${board.item.name}. Press the question mark for the keys.`)
}

function showSaving(board) {
  const [state, words] = outboxWords(board.outbox)
  const node = board.q(".saving")
  if (node.textContent !== words) {
    node.textContent = words
  }
  node.dataset.state = state
}

function tell(board, words) {
  board.q(".said").textContent = words
}

// ---------------------------------------------------------------- two versions

const conflictOf = board => board.outbox.entries.get(board.item?.id)?.conflict

function locked(board) {
  return Boolean(conflictOf(board))
}

function unlocked(board, action) {
  if (locked(board)) {
    return tell(board, "First choose which version stays.")
  }
  return action(board)
}

function showChoice(board) {
  const panel = board.q(".choice")
  const theirs = conflictOf(board)
  panel.hidden = !theirs
  if (!theirs) {
    board.comparing = null
    return
  }
  const look = other => () => {
    board.comparing = other ? theirs.marks : null
    refresh(board)
  }
  const offer = (words, name, action) => element("button", { type: "button", class: name, onclick: action }, words)
  panel.replaceChildren(
    element("p", {}, element("b", {}, "Somebody else changed this picture meanwhile. "), "Nothing is lost: look at both, then choose what stays."),
    element(
      "div",
      { class: "row" },
      element("button", { type: "button", class: "plain", "aria-pressed": String(!board.comparing), onclick: look(false) }, `Show yours (${board.marks.length})`),
      element("button", { type: "button", class: "plain", "aria-pressed": String(Boolean(board.comparing)), onclick: look(true) }, `Show theirs (${theirs.marks.length})`),
    ),
    element(
      "div",
      { class: "row" },
      offer("Keep yours", "plain keep-mine", () => resolve(board, board.marks)),
      offer("Keep theirs", "plain keep-theirs", () => resolve(board, null)),
      offer("Keep both", "plain keep-both", () => resolve(board, [...theirs.marks, ...board.marks.filter(mark => !theirs.marks.some(other => sameMarks([mark], [other])))])),
    ),
  )
}

// Undo goes back to one's own version even after theirs was kept.
function resolve(board, marks) {
  const entry = board.outbox.entries.get(board.item.id)
  const kept = marks ?? entry.conflict.marks
  board.history.past.push({ marks: board.marks, selected: -1 })
  board.history.future = []
  Object.assign(board, { marks: kept, selected: -1, corner: null, comparing: null, base: entry.conflict.marks })
  board.item = { ...board.item, revision: entry.conflict.item.revision, reviewed: entry.conflict.item.reviewed }
  settle(board.outbox, entry, marks)
  refresh(board)
  board.root.focus({ preventScroll: true })
}
