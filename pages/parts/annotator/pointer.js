// Mouse, pen and fingers, all as pointer events. One pointer uses the tool; two pinch and move the picture; the wheel zooms.

const REACH_PX = { mouse: 8, pen: 10, touch: 20 }
const FAR_PX = 3 // less than this between down and up is a click

const reachOf = (board, event) => (REACH_PX[event.pointerType] ?? REACH_PX.mouse) / board.view.scale

function onDown(board, event) {
  if (!board.item || event.button === 2) {
    return
  }
  event.preventDefault()
  board.root.focus({ preventScroll: true })
  board.stage.setPointerCapture(event.pointerId)
  board.pointers.set(event.pointerId, stagePlace(board, event))
  if (board.pointers.size === 2) {
    dropGesture(board)
    board.open?.points.pop() // the first of the two fingers set a corner on its way
    board.gesture = { kind: "pinch", ...pinchOf(board) }
  } else if (board.pointers.size === 1) {
    const at = picturePlace(board, event)
    board.gesture = event.button === 1 || board.space ? { kind: "pan" } : begun(board, at, reachOf(board, event), event)
    Object.assign(board.gesture ?? {}, { down: stagePlace(board, event), last: stagePlace(board, event) })
  }
  paint(board)
}

// What a press begins: by a handle of the selected mark, else by the tool.
function begun(board, at, reach, event) {
  if (locked(board)) {
    return { kind: "pan" }
  }
  const mark = board.marks[board.selected]
  const handle = mark && !board.open && !["brush", "eraser", "point"].includes(board.tool) ? handleAt(mark, ...at, reach) : null
  if (handle && !board.hidden) {
    return onHandle(board, mark, handle, event)
  }
  switch (board.tool) {
    case "box":
      return { kind: "box", from: at, to: at, reach }
    case "polygon":
      return onCorner(board, at, reach)
    case "point":
      addMark(board, "point", { point: at.map(rounded) })
      return null
    case "brush":
    case "eraser":
      return onBrush(board, at)
    default: {
      const index = markAt(board.marks, ...at, reach / 2)
      return index < 0 ? { kind: "pan", deselect: true } : (choose(board, index), { kind: "move", from: at, mark: board.marks[index] })
    }
  }
}

function onHandle(board, mark, handle, event) {
  if (handle.edge) {
    return { kind: "resize", edge: handle.edge, mark }
  }
  if (event.altKey && !handle.between) {
    board.corner = handle
    removeSelected(board)
    return null
  }
  const changed = handle.between ? cornerAdded(mark, handle.ring, handle.at, handle.x, handle.y) : mark
  board.corner = { ring: handle.ring, at: handle.at }
  return { kind: "corner", mark: changed, added: Boolean(handle.between), ...board.corner }
}

function onCorner(board, at, reach) {
  const first = board.open?.points[0]
  if (first && Math.hypot(first[0] - at[0], first[1] - at[1]) <= 1.5 * reach && board.open.points.length > 2) {
    closePolygon(board)
    return null
  }
  if (!board.open) {
    board.open = { points: [] }
    choose(board, -1)
  }
  const last = board.open.points.at(-1)
  if (!last || Math.hypot(last[0] - at[0], last[1] - at[1]) > reach / 4) {
    board.open.points.push(at) // the second click of a double click sets no corner
  }
  return null
}

function onBrush(board, at) {
  const erase = board.tool === "eraser"
  const chosen = board.marks[board.selected]?.kind === "mask" ? board.selected : -1
  const index = erase && chosen < 0 ? markAt(board.marks, ...at, 0, mark => mark.kind === "mask") : chosen
  if (erase && index < 0) {
    tell(board, "There is no mask here to erase from.")
    return null
  }
  beginStroke(board, index, erase)
  strokeTo(board, at, at)
  return { kind: "brush", at }
}

function onMove(board, event) {
  if (!board.item) {
    return
  }
  const [at, place] = [picturePlace(board, event), stagePlace(board, event)]
  board.hover = event.pointerType === "touch" ? null : at
  if (board.pointers.has(event.pointerId)) {
    board.pointers.set(event.pointerId, place)
  }
  if (board.open) {
    board.open.hover = board.hover
  }
  const { gesture } = board
  if (gesture?.kind === "pinch") {
    pinch(board, gesture)
  } else if (gesture?.down) {
    gesture.far ||= Math.hypot(place[0] - gesture.down[0], place[1] - gesture.down[1]) > FAR_PX
    drag(board, gesture, at, place)
    gesture.last = place
  }
  paint(board)
}

function drag(board, gesture, at, place) {
  const { item } = board
  const show = mark => {
    gesture.changed = mark
    board.draft = replaced(board.marks, board.selected, mark)
  }
  if (gesture.kind === "pan") {
    pan(board, place[0] - gesture.last[0], place[1] - gesture.last[1])
  } else if (gesture.kind === "brush") {
    strokeTo(board, gesture.at, at)
    gesture.at = at
  } else if (gesture.kind === "box") {
    gesture.to = at
  } else if (gesture.far && gesture.kind === "move" && gesture.mark.kind !== "mask") {
    show(movedBy(gesture.mark, at[0] - gesture.from[0], at[1] - gesture.from[1], item.width, item.height))
  } else if (gesture.far && gesture.kind === "move") {
    gesture.to = at // a mask follows when it is let go: moving it costs a pass over the picture
  } else if (gesture.far && gesture.kind === "resize") {
    show(resizedTo(gesture.mark, gesture.edge, ...at))
  } else if (gesture.far && gesture.kind === "corner") {
    show(cornerMoved(gesture.mark, gesture.ring, gesture.at, ...at))
  }
}

function pinchOf(board) {
  const [one, other] = [...board.pointers.values()]
  return { apart: Math.hypot(one[0] - other[0], one[1] - other[1]), middle: [(one[0] + other[0]) / 2, (one[1] + other[1]) / 2] }
}

function pinch(board, gesture) {
  if (board.pointers.size < 2) {
    return
  }
  const now = pinchOf(board)
  pan(board, now.middle[0] - gesture.middle[0], now.middle[1] - gesture.middle[1])
  zoom(board, now.apart / Math.max(1, gesture.apart), now.middle)
  Object.assign(gesture, now)
}

function onUp(board, event) {
  board.pointers.delete(event.pointerId)
  const { gesture } = board
  if (!gesture || (gesture.kind === "pinch" && board.pointers.size)) {
    return
  }
  board.gesture = null
  board.draft = null
  finish(board, gesture)
  paint(board)
}

function finish(board, gesture) {
  const { item } = board
  if (gesture.kind === "brush") {
    endStroke(board)
  } else if (gesture.kind === "box" && gesture.far) {
    addBox(board, gesture.from, gesture.to)
  } else if (gesture.kind === "box") {
    choose(board, markAt(board.marks, ...gesture.from, gesture.reach / 2))
  } else if (gesture.kind === "pan" && gesture.deselect && !gesture.far) {
    choose(board, -1)
  } else if (gesture.kind === "move" && gesture.to) {
    const moved = movedBy(gesture.mark, gesture.to[0] - gesture.from[0], gesture.to[1] - gesture.from[1], item.width, item.height)
    commit(board, replaced(board.marks, board.selected, moved))
  } else if (gesture.changed || gesture.added) {
    finishChange(board, gesture)
  } else if (gesture.kind === "corner") {
    refresh(board)
  }
}

function finishChange(board, gesture) {
  const mark = gesture.changed ?? gesture.mark
  const [x1, y1, x2, y2] = boundsOf(mark)
  if (mark.kind !== "point" && (x2 - x1 < SMALLEST_PX || y2 - y1 < SMALLEST_PX)) {
    return tell(board, "That would leave it without an inside.")
  }
  commit(board, replaced(board.marks, board.selected, mark))
  return gesture.kind === "corner" ? choose(board, board.selected, { ring: gesture.ring, at: gesture.at }) : undefined
}

function dropGesture(board) {
  if (board.gesture?.kind === "brush") {
    dropStroke(board)
  }
  board.gesture = null
  board.draft = null
}

function onCancel(board, event) {
  board.pointers.delete(event.pointerId)
  dropGesture(board)
  paint(board)
}

// The wheel zooms where one is working; elsewhere it still scrolls the page.
function onWheel(board, event) {
  const active = board.root.getRootNode().activeElement
  if (!board.item || !(event.ctrlKey || (active && board.root.contains(active)))) {
    return
  }
  event.preventDefault()
  const unit = event.deltaMode === 1 ? 16 : 1
  zoom(board, Math.exp(-clamp(event.deltaY * unit, -200, 200) * (event.ctrlKey ? 0.01 : 0.002)), stagePlace(board, event))
}

function onDoubleClick(board, event) {
  if (board.open && board.tool === "polygon") {
    closePolygon(board)
  } else if (board.tool === "select" && board.corner) {
    event.preventDefault()
    removeSelected(board)
  }
}
