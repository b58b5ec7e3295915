// Everything that is drawn over the picture, on one canvas of the stage's size, once a frame at most.

const MASK_PIXELS = 4_000_000 // a mask is shown in no more pixels than this; its kept form stays exact
const HANDLE_PX = 4

function paint(board) {
  if (!board.frame) {
    board.frame = requestAnimationFrame(() => {
      board.frame = 0
      if (board.item) {
        paintNow(board)
      }
    })
  }
}

function paintNow(board) {
  const { canvas, picture, view, item, looks } = board
  const [width, height] = stageSize(board)
  const dense = devicePixelRatio
  if (canvas.width !== Math.round(width * dense) || canvas.height !== Math.round(height * dense)) {
    canvas.width = Math.round(width * dense)
    canvas.height = Math.round(height * dense)
  }
  picture.style.width = `${item.width}px`
  picture.style.height = `${item.height}px`
  picture.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`
  picture.style.filter = looks.brightness === 1 ? "" : `brightness(${looks.brightness})`
  picture.style.imageRendering = view.scale > 3 ? "pixelated" : ""
  showPicture(board)
  const pen = canvas.getContext("2d")
  pen.setTransform(dense, 0, 0, dense, 0, 0)
  pen.clearRect(0, 0, width, height)
  if (!board.hidden) {
    board.shown().forEach((mark, index) => paintMark(board, pen, mark, index))
  }
  paintOpen(board, pen)
  paintCursor(board, pen)
}

const toStage = (board, x, y) => [board.view.x + x * board.view.scale, board.view.y + y * board.view.scale]

function tracePath(board, pen, mark) {
  pen.beginPath()
  if (mark.kind === "box") {
    const [x1, y1, x2, y2] = mark.geometry.box
    const [left, top] = toStage(board, x1, y1)
    pen.rect(left, top, (x2 - x1) * board.view.scale, (y2 - y1) * board.view.scale)
  } else if (mark.kind === "polygon") {
    for (const ring of mark.geometry.rings) {
      for (let at = 0; at < ring.length; at += 2) {
        pen[at ? "lineTo" : "moveTo"](...toStage(board, ring[at], ring[at + 1]))
      }
      pen.closePath()
    }
  } else if (mark.kind === "point") {
    pen.arc(...toStage(board, ...mark.geometry.point), 6, 0, 7)
  }
}

function paintMark(board, pen, mark, index) {
  const chosen = index === board.selected && !board.comparing
  const colour = colourOf(board, mark.label)
  const suggested = mark.by === "model"
  pen.globalAlpha = 1
  if (mark.kind === "mask") {
    paintMask(board, pen, mark, colour, index)
  } else {
    tracePath(board, pen, mark)
    pen.fillStyle = colour
    pen.globalAlpha = board.looks.opacity * (suggested ? 0.5 : 1)
    pen.fill()
    pen.globalAlpha = 1
  }
  pen.setLineDash(suggested || board.comparing ? [6, 4] : [])
  if (mark.kind !== "mask" || chosen) {
    if (mark.kind === "mask") {
      const [x1, y1, x2, y2] = boundsOf(mark)
      tracePath(board, pen, { kind: "box", geometry: { box: [x1, y1, x2, y2] } })
      pen.setLineDash([2, 3])
    }
    pen.lineWidth = chosen ? 5 : 3.5 // a dark rim keeps every colour visible on every picture
    pen.strokeStyle = "rgba(0, 0, 0, 0.45)"
    pen.stroke()
    pen.lineWidth = chosen ? 3 : 1.75
    pen.strokeStyle = colour
    pen.stroke()
  }
  pen.setLineDash([])
  paintName(board, pen, mark, colour)
  if (chosen) {
    paintHandles(board, pen, mark, colour)
  }
}

function paintName(board, pen, mark, colour) {
  const [x1, y1] = boundsOf(mark)
  if (x1 >= board.item.width) {
    return // a mask of which nothing is painted yet
  }
  const [left, top] = toStage(board, x1, y1)
  const words = mark.by === "model" ? `${mark.label}? ${mark.score === null ? "" : percent(mark.score)}` : mark.label
  pen.font = `600 12px ${board.font}`
  const wide = pen.measureText(words).width + 8
  const above = Math.max(0, top - 17)
  pen.fillStyle = colour
  pen.fillRect(left - 1, above, wide, 16)
  pen.fillStyle = "#fff"
  pen.strokeStyle = "rgba(0, 0, 0, 0.7)"
  pen.lineWidth = 2.5
  pen.strokeText(words, left + 3, above + 12)
  pen.fillText(words, left + 3, above + 12)
}

function paintHandles(board, pen, mark, colour) {
  for (const handle of handlesOf(mark)) {
    const [left, top] = toStage(board, handle.x, handle.y)
    const corner = board.corner
    const picked = corner && corner.ring === handle.ring && corner.at === handle.at && !handle.between
    const half = handle.between ? HANDLE_PX - 1.5 : picked ? HANDLE_PX + 2 : HANDLE_PX
    pen.globalAlpha = handle.between ? 0.7 : 1
    pen.fillStyle = picked ? colour : "#fff"
    pen.strokeStyle = picked ? "#fff" : colour
    pen.lineWidth = 1.5
    pen.beginPath()
    if (handle.edge) {
      pen.rect(left - half, top - half, 2 * half, 2 * half)
    } else {
      pen.arc(left, top, half, 0, 7)
    }
    pen.fill()
    pen.stroke()
  }
  pen.globalAlpha = 1
}

// The polygon or box that is being drawn.
function paintOpen(board, pen) {
  const { open, gesture } = board
  pen.strokeStyle = colourOf(board, board.label())
  pen.lineWidth = 2
  if (open) {
    pen.beginPath()
    open.points.forEach(([x, y], at) => pen[at ? "lineTo" : "moveTo"](...toStage(board, x, y)))
    if (open.hover) {
      pen.lineTo(...toStage(board, ...open.hover))
    }
    pen.stroke()
    open.points.forEach(([x, y], at) => {
      pen.beginPath()
      pen.arc(...toStage(board, x, y), at ? 3 : 6, 0, 7)
      pen.fillStyle = at ? pen.strokeStyle : "#fff"
      pen.fill()
      pen.stroke()
    })
  } else if (gesture?.kind === "box" && gesture.far) {
    tracePath(board, pen, { kind: "box", geometry: { box: boxBetween(gesture.from, gesture.to) } })
    pen.setLineDash([])
    pen.stroke()
  }
}

// The brush's size under the pointer; cross hairs for boxes, so that a corner is met at the first try.
function paintCursor(board, pen) {
  const { hover, tool } = board
  if (!hover) {
    return
  }
  const [left, top] = toStage(board, ...hover)
  const [width, height] = stageSize(board)
  pen.lineWidth = 1
  pen.strokeStyle = tool === "eraser" ? "#fff" : colourOf(board, board.label())
  pen.beginPath()
  if (tool === "brush" || tool === "eraser") {
    pen.arc(left, top, Math.max(1, board.looks.brush * board.view.scale), 0, 7)
    pen.stroke()
  } else if (tool === "box" && !board.gesture) {
    pen.globalAlpha = 0.6
    pen.moveTo(0, top)
    pen.lineTo(width, top)
    pen.moveTo(left, 0)
    pen.lineTo(left, height)
    pen.stroke()
    pen.globalAlpha = 1
  }
}

// ---------------------------------------------------------------- masks

function colourBytes(board, colour) {
  const pen = (board.taster ??= new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true }))
  pen.fillStyle = colour
  pen.fillRect(0, 0, 1, 1)
  const [red, green, blue] = pen.getImageData(0, 0, 1, 1).data
  return (255 << 24) | (blue << 16) | (green << 8) | red
}

// A mask as a small picture of its own, made once for each kept form and colour.
const knownMasks = new WeakMap()

function maskPicture(board, geometry, colour) {
  const known = knownMasks.get(geometry)
  if (known?.colour === colour) {
    return known
  }
  const { columns, rows } = runsOf(geometry)
  const [wide, high] = [columns[1] - columns[0], rows[1] - rows[0]]
  const step = Math.max(1, Math.ceil(Math.sqrt((wide * high) / MASK_PIXELS)))
  const sheet = new OffscreenCanvas(Math.ceil(wide / step), Math.ceil(high / step))
  const pen = sheet.getContext("2d")
  const pixels = pen.createImageData(sheet.width, sheet.height)
  const words = new Uint32Array(pixels.data.buffer)
  const value = colourBytes(board, colour)
  eachRun(geometry, (column, from, until) => {
    const left = column - columns[0]
    if (left % step === 0) {
      const [first, last] = [Math.ceil((from - rows[0]) / step), Math.ceil((until - rows[0]) / step)]
      for (let row = first; row < last; row++) {
        words[row * sheet.width + left / step] = value
      }
    }
  })
  pen.putImageData(pixels, 0, 0)
  const made = { colour, sheet, x: columns[0], y: rows[0], step }
  knownMasks.set(geometry, made)
  return made
}

function paintMask(board, pen, mark, colour, index) {
  const live = board.live?.index === index ? board.live : null
  const { sheet, x, y, step } = live ?? maskPicture(board, mark.geometry, colour)
  const [left, top] = toStage(board, x, y)
  const size = step * board.view.scale
  pen.imageSmoothingEnabled = size < 1
  pen.globalAlpha = Math.min(1, board.looks.opacity * 1.6) * (mark.by === "model" ? 0.6 : 1)
  pen.drawImage(sheet, left, top, sheet.width * size, sheet.height * size)
  pen.globalAlpha = 1
}
