// What changes the marks of the picture on the board. Every change is one step of Undo and is saved at once.

const MOST_STEPS = 200
const SMALLEST_PX = 0.5 // as engine/data/shapes.py has it: less than this has no inside

function commit(board, marks, selected = board.selected) {
  const { history } = board
  history.past.push({ marks: board.marks, selected: board.selected })
  history.past.splice(0, history.past.length - MOST_STEPS)
  history.future = []
  change(board, marks, selected)
}

function change(board, marks, selected) {
  board.marks = marks
  board.selected = selected < marks.length ? selected : -1
  board.corner = null
  put(board.outbox, board.item, board.base, marks)
  refresh(board)
}

function step(board, from, to) {
  const found = board.history[from].pop()
  if (!found) {
    return tell(board, from === "past" ? "Nothing to undo." : "Nothing to redo.")
  }
  board.history[to].push({ marks: board.marks, selected: board.selected })
  change(board, found.marks, found.selected)
  return tell(board, from === "past" ? "Undone." : "Done again.")
}

const undo = board => step(board, "past", "future")
const redo = board => step(board, "future", "past")

const replaced = (marks, index, mark) => marks.map((one, place) => (place === index ? mark : one))

function choose(board, index, corner = null) {
  board.selected = index
  board.corner = corner
  if (index >= 0) {
    board.classIndex = Math.max(0, board.classes.indexOf(board.marks[index].label))
  }
  refresh(board)
}

function chooseNext(board, step) {
  const count = board.marks.length
  if (count) {
    choose(board, (board.selected + step + count + (board.selected < 0 && step < 0 ? 1 : 0)) % count)
    tell(board, `${board.selected + 1} of ${count}: ${board.marks[board.selected].label}, ${describe(board.marks[board.selected])}`)
  }
}

// Set the class that is drawn with, and that of the selected mark.
function pickClass(board, place) {
  if (place >= board.classes.length) {
    return undefined
  }
  board.classIndex = place
  if (board.tool === "brush" || board.tool === "eraser") {
    return choose(board, -1) // who paints says the class first: the next stroke begins a mask of it
  }
  const mark = board.marks[board.selected]
  if (mark && !board.open && mark.label !== board.classes[place] && !locked(board)) {
    return commit(board, replaced(board.marks, board.selected, mine(mark, { label: board.classes[place] })))
  }
  return refresh(board)
}

function addMark(board, kind, geometry) {
  commit(board, [...board.marks, { label: board.label(), kind, geometry, by: "person", score: null }], board.marks.length)
}

function addBox(board, from, to) {
  const box = boxBetween(from, to)
  if (box[2] - box[0] >= SMALLEST_PX && box[3] - box[1] >= SMALLEST_PX) {
    addMark(board, "box", { box })
  }
}

function closePolygon(board) {
  const { points } = board.open
  if (points.length < 3) {
    return tell(board, "A polygon needs three corners.")
  }
  const ring = points.flat().map(rounded)
  const [x1, y1, x2, y2] = boundsOf({ kind: "polygon", geometry: { rings: [ring] } })
  board.open = null
  if (x2 - x1 < SMALLEST_PX || y2 - y1 < SMALLEST_PX) {
    paint(board)
    return tell(board, "That polygon had no inside.")
  }
  return addMark(board, "polygon", { rings: [ring] })
}

function removeSelected(board) {
  const mark = board.marks[board.selected]
  if (!mark) {
    return
  }
  if (board.corner) {
    const without = cornerRemoved(mark, board.corner.ring, board.corner.at)
    if (without) {
      commit(board, replaced(board.marks, board.selected, without))
    } else {
      tell(board, "A polygon needs three corners. Press Esc, then Delete, to remove all of it.")
    }
    return
  }
  const at = board.selected
  commit(board, board.marks.filter((_, index) => index !== at), -1)
  tell(board, `${mark.label} removed.`)
}

function nudge(board, dx, dy, resize) {
  const mark = board.marks[board.selected]
  const { width, height } = board.item
  if (resize && mark.kind === "box") {
    const [, , x2, y2] = mark.geometry.box
    const changed = resizedTo(mark, "se", clamp(x2 + dx, mark.geometry.box[0] + 1, width), clamp(y2 + dy, mark.geometry.box[1] + 1, height))
    return commit(board, replaced(board.marks, board.selected, changed))
  }
  if (board.corner && mark.kind === "polygon") {
    const { ring, at } = board.corner
    const flat = mark.geometry.rings[ring]
    const corner = board.corner
    commit(board, replaced(board.marks, board.selected, cornerMoved(mark, ring, at, clamp(flat[at] + dx, 0, width), clamp(flat[at + 1] + dy, 0, height))))
    return choose(board, board.selected, corner)
  }
  return commit(board, replaced(board.marks, board.selected, movedBy(mark, dx, dy, width, height)))
}

// Without a mouse: a box in the middle of what is seen, to be moved with the arrows and resized with Alt and the arrows.
function insertBox(board) {
  const [width, height] = stageSize(board)
  const { scale, x, y } = board.view
  const corners = [0.35, 0.65].map(share => [clamp((width * share - x) / scale, 0, board.item.width), clamp((height * share - y) / scale, 0, board.item.height)])
  addBox(board, ...corners)
}

// ---------------------------------------------------------------- suggestions

const suggestionsIn = marks => marks.filter(mark => mark.by === "model")
const suggestions = board => suggestionsIn(board.marks)

// Agree to the selected suggestion, or to all where none is selected.
function agree(board) {
  const one = board.marks[board.selected]?.by === "model" ? board.selected : -1
  const count = one >= 0 ? 1 : suggestions(board).length
  if (!count) {
    return tell(board, "There is no suggestion here.")
  }
  commit(board, board.marks.map((mark, index) => (mark.by === "model" && (one < 0 || index === one) ? mine(mark, {}) : mark)))
  return tell(board, count === 1 ? "Agreed." : `Agreed to all ${count}.`)
}

function turnDown(board) {
  const one = board.marks[board.selected]?.by === "model" ? board.selected : -1
  const left = board.marks.filter((mark, index) => mark.by !== "model" || (one >= 0 && index !== one))
  if (left.length === board.marks.length) {
    return tell(board, "There is no suggestion here.")
  }
  return commit(board, left, -1)
}

// ---------------------------------------------------------------- from the previous picture

async function copyPrevious(board) {
  const place = board.queue.indexOf(board.item.id)
  const from = board.previous ?? board.queue[place - 1]
  const here = board.item.id
  if (!from) {
    return tell(board, "There is no previous picture.")
  }
  const said = await fetch(ROUTE + from).then(answer => (answer.ok ? answer.json() : null), () => null)
  if (!said || board.item.id !== here || locked(board)) {
    return tell(board, "The previous picture's labels cannot be read just now.")
  }
  const found = board.outbox.entries.get(from)?.marks ?? said.marks
  const same = said.item.width === board.item.width && said.item.height === board.item.height
  const [across, down] = [board.item.width / said.item.width, board.item.height / said.item.height]
  const taken = found.filter(mark => mark.by !== "model" && (same || mark.kind !== "mask")).map(mark => mine(mark, { geometry: scaled(mark.geometry, across, down) }))
  if (!taken.length) {
    return tell(board, "The previous picture has no labels to copy.")
  }
  commit(board, [...board.marks, ...taken], -1)
  return tell(board, `${countWords(taken.length)} copied.${taken.length < found.length ? " Masks and suggestions were left out." : ""}`)
}

function scaled(geometry, across, down) {
  const flat = list => list.map((value, place) => rounded(value * (place % 2 ? down : across)))
  if (geometry.rings) {
    return { ...geometry, rings: geometry.rings.map(flat) }
  }
  return geometry.box ? { ...geometry, box: flat(geometry.box) } : geometry.point ? { ...geometry, point: flat(geometry.point) } : geometry
}
