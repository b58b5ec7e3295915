// The keyboard, and the page that lists it.

const TOOLS = {
  select: ["V", "Select", "Select and move; drag the empty picture to move it"],
  box: ["B", "Box", "Drag from corner to corner"],
  polygon: ["P", "Polygon", "Click corner after corner; Enter or the first corner closes it"],
  brush: ["M", "Brush", "Paint a mask; with a mask selected, add to it"],
  eraser: ["E", "Eraser", "Erase from the selected mask, or the one under the pointer"],
  point: ["T", "Point", "Set a point. Points are kept, but no model learns from them yet"],
}

const KEYS = [
  ["1 … 9", "class, of what is drawn next and of what is selected"],
  ["V B P M E T", "select, box, polygon, brush, eraser, point"],
  ["Enter", "close the polygon; else: done, next picture"],
  ["A D, Page up and down, ← →", "previous and next picture"],
  ["W S", "select the previous and next label"],
  ["← ↑ → ↓", "with a label selected: move it by a pixel (Shift: 10); with Alt: resize the box"],
  ["I", "a box in the middle, to be moved by the arrows"],
  ["Delete", "remove the selected corner or label"],
  ["Alt and click", "remove a corner; a click on a small dot between two adds one"],
  ["C", "copy the labels of the previous picture"],
  ["Y, N", "agree to a suggestion, turn it down (none selected: all)"],
  ["Ctrl Z, Ctrl Shift Z", "undo, redo"],
  ["Wheel, + −, F", "zoom, fit; Space and drag, or two fingers, moves the picture"],
  ["[ ]", "smaller and larger brush"],
  ["H", "hide the labels, show them again"],
  ["G", "fill the screen, and back"],
  ["Esc", "leave what is being drawn; then deselect"],
  ["?", "these keys"],
]

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }

function onKey(board, event) {
  event.stopPropagation() // or Streamlit takes letters as its own shortcuts
  const onButton = event.target.closest?.("button") && ["Enter", " "].includes(event.key)
  if (!board.item || onButton || event.target.type === "range" || event.key === "Tab") {
    return
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key
  const held = event.ctrlKey || event.metaKey
  const action = held ? HELD[key] : ARROWS[key] ? onArrow : /^[1-9]$/.test(key) ? onDigit : PLAIN[key]
  if (action) {
    event.preventDefault()
    action(board, event)
  } else if (!held && !event.altKey) {
    const tool = Object.keys(TOOLS).find(one => TOOLS[one][0].toLowerCase() === key)
    if (tool && board.tools.includes(tool)) {
      takeTool(board, tool)
    }
  }
}

const HELD = {
  z: (board, event) => unlocked(board, event.shiftKey ? redo : undo),
  y: board => unlocked(board, redo),
}

const PLAIN = {
  a: board => go(board, -1),
  d: board => go(board, 1),
  PageUp: board => go(board, -1),
  PageDown: board => go(board, 1),
  w: board => chooseNext(board, -1),
  s: board => chooseNext(board, 1),
  Enter: board => (board.open ? closePolygon(board) : done(board)),
  Delete: board => unlocked(board, removeSelected),
  Backspace: board => (board.open ? dropCorner(board) : unlocked(board, removeSelected)),
  Escape: board => leave(board),
  c: board => unlocked(board, copyPrevious),
  y: board => unlocked(board, agree),
  n: board => unlocked(board, turnDown),
  i: board => unlocked(board, insertBox),
  f: board => fit(board),
  "+": board => zoom(board, 1.25),
  "=": board => zoom(board, 1.25),
  "-": board => zoom(board, 0.8),
  "[": board => setLook(board, "brush", Math.max(1, board.looks.brush / 1.25)),
  "]": board => setLook(board, "brush", Math.min(400, board.looks.brush * 1.25)),
  g: board => toggleFull(board),
  h: board => toggleHidden(board),
  "?": board => toggleHelp(board),
  " ": board => {
    board.space = true
  },
}

function onArrow(board, event) {
  const [dx, dy] = ARROWS[event.key].map(side => side * (event.shiftKey ? 10 : 1))
  if (board.selected >= 0) {
    unlocked(board, () => nudge(board, dx, dy, event.altKey))
  } else if (dx) {
    go(board, Math.sign(dx))
  }
}

function onDigit(board, event) {
  pickClass(board, Number(event.key) - 1)
}

function onKeyUp(board, event) {
  if (event.key === " ") {
    board.space = false
  }
}

function dropCorner(board) {
  board.open.points.pop()
  if (!board.open.points.length) {
    board.open = null
  }
  paint(board)
}

function leave(board) {
  if (!board.help.hidden) {
    return toggleHelp(board)
  }
  if (board.open || board.gesture) {
    board.open = null
    dropGesture(board)
    return paint(board)
  }
  return choose(board, board.corner ? board.selected : -1)
}

function takeTool(board, tool) {
  board.tool = tool
  board.open = null
  const goesOn = (tool === "brush" || tool === "eraser") && board.marks[board.selected]?.kind === "mask"
  if (tool !== "select" && !goesOn) {
    board.selected = -1 // a number that follows names what will be drawn, not what was
    board.corner = null
  }
  refresh(board)
  tell(board, `${TOOLS[tool][1]}: ${TOOLS[tool][2]}.`)
}

function toggleHidden(board) {
  board.hidden = !board.hidden
  refresh(board)
}

function toggleFull(board) {
  if (board.root.getRootNode().fullscreenElement) {
    document.exitFullscreen()
  } else {
    board.root.requestFullscreen?.().catch(() => tell(board, "This browser does not let a part of a page fill the screen."))
  }
}

function toggleHelp(board) {
  const { help } = board
  help.hidden = !help.hidden
  if (!help.hidden) {
    help.replaceChildren(
      element("button", { type: "button", class: "plain close", onclick: () => toggleHelp(board) }, "Close (Esc)"),
      element("dl", {}, ...KEYS.flatMap(([key, words]) => [element("dt", {}, key), element("dd", {}, words)])),
    )
    help.querySelector("button").focus()
  } else {
    board.root.focus({ preventScroll: true })
  }
}
