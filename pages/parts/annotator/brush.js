// Painting and erasing masks: pixels while the pointer is down, run lengths once it is up.

// Begin a stroke on a mask of the picture (its index), or on a new one (-1).
function beginStroke(board, index, erase) {
  const { width, height } = board.item
  const before = index >= 0 ? board.marks[index] : null
  const label = before?.label ?? board.label()
  const step = Math.max(1, Math.ceil(Math.sqrt((width * height) / (2 * MASK_PIXELS))))
  const sheet = new OffscreenCanvas(Math.ceil(width / step), Math.ceil(height / step))
  const columns = before ? [...runsOf(before.geometry).columns] : [width, 0]
  const live = { before, label, erase, step, sheet, x: 0, y: 0, columns, bits: bitsOf(before?.geometry, width, height), pen: sheet.getContext("2d") }
  live.index = before ? index : board.marks.length
  live.value = colourBytes(board, colourOf(board, label))
  board.live = live
  board.draft = before ? null : [...board.marks, { label, kind: "mask", geometry: { size: [height, width], counts: packRuns([width * height]) }, by: "person", score: null }]
  showBits(live, width, height, 0, 0, width, height)
}

function strokeTo(board, from, to) {
  const radius = board.looks.brush
  const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) / Math.max(1, radius / 3)))
  for (let at = 0; at <= steps; at++) {
    stamp(board, from[0] + ((to[0] - from[0]) * at) / steps, from[1] + ((to[1] - from[1]) * at) / steps, radius)
  }
  const edge = radius + 2
  const { width, height } = board.item
  showBits(board.live, width, height, Math.min(from[0], to[0]) - edge, Math.min(from[1], to[1]) - edge, Math.max(from[0], to[0]) + edge, Math.max(from[1], to[1]) + edge)
  paint(board)
}

// Set every pixel whose centre lies in the disc.
function stamp(board, x, y, radius) {
  const { live, item } = board
  for (let row = Math.max(0, Math.ceil(y - radius - 0.5)); row < item.height && row + 0.5 <= y + radius; row++) {
    const half = Math.sqrt(Math.max(0, radius * radius - (row + 0.5 - y) ** 2))
    const first = Math.max(0, Math.ceil(x - half - 0.5))
    const last = Math.min(item.width, Math.floor(x + half - 0.5) + 1)
    if (last > first) {
      live.bits.fill(live.erase ? 0 : 1, row * item.width + first, row * item.width + last)
      live.columns = [Math.min(live.columns[0], first), Math.max(live.columns[1], last)]
    }
  }
}

function showBits(live, width, height, left, top, right, bottom) {
  const { step, sheet, bits, pen } = live
  const [x1, y1] = [clamp(Math.floor(left / step), 0, sheet.width), clamp(Math.floor(top / step), 0, sheet.height)]
  const [x2, y2] = [clamp(Math.ceil(right / step), 0, sheet.width), clamp(Math.ceil(bottom / step), 0, sheet.height)]
  if (x2 <= x1 || y2 <= y1) {
    return
  }
  const pixels = pen.createImageData(x2 - x1, y2 - y1)
  const words = new Uint32Array(pixels.data.buffer)
  for (let y = y1, place = 0; y < y2; y++) {
    for (let x = x1; x < x2; x++, place++) {
      if (bits[y * step * width + x * step]) {
        words[place] = live.value
      }
    }
  }
  pen.putImageData(pixels, x1, y1)
}

// Turn the stroke into marks. A mask that was erased whole is gone.
function endStroke(board) {
  const { live, item } = board
  board.live = null
  board.draft = null
  const geometry = maskFrom(live.bits, item.width, item.height, ...live.columns)
  const crowd = live.before?.geometry.crowd ? { crowd: true } : {}
  const mark = geometry && mine(live.before ?? { label: live.label, kind: "mask" }, { geometry: { ...geometry, ...crowd } })
  const marks = [...board.marks]
  if (mark) {
    marks[live.index] = mark
  } else if (live.before) {
    marks.splice(live.index, 1)
  }
  if (mark || live.before) {
    commit(board, marks, mark ? live.index : -1)
  }
  paint(board)
}

function dropStroke(board) {
  board.live = null
  board.draft = null
  paint(board)
}
