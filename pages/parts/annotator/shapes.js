// What can be asked of a mark, and how one becomes another: bounds, what lies under the pointer, handles, moving, resizing.

const EDGES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"]

function boundsOf(mark) {
  const { geometry } = mark
  if (mark.kind === "box") {
    return geometry.box
  }
  if (mark.kind === "point") {
    return [...geometry.point, ...geometry.point]
  }
  if (mark.kind === "mask") {
    const { columns, rows } = runsOf(geometry)
    return [columns[0], rows[0], columns[1], rows[1]]
  }
  const xs = geometry.rings.flatMap(ring => ring.filter((_, place) => place % 2 === 0))
  const ys = geometry.rings.flatMap(ring => ring.filter((_, place) => place % 2 === 1))
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)]
}

function inRing(ring, x, y) {
  let inside = false
  for (let one = 0, other = ring.length - 2; one < ring.length; other = one, one += 2) {
    const [x1, y1, x2, y2] = [ring[one], ring[one + 1], ring[other], ring[other + 1]]
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) {
      inside = !inside
    }
  }
  return inside
}

function covers(mark, x, y, reach) {
  if (mark.kind === "point") {
    return Math.hypot(mark.geometry.point[0] - x, mark.geometry.point[1] - y) <= 1.5 * reach
  }
  if (mark.kind === "mask") {
    return maskCovers(mark.geometry, x, y)
  }
  if (mark.kind === "polygon") {
    return mark.geometry.rings.some(ring => inRing(ring, x, y))
  }
  const [x1, y1, x2, y2] = mark.geometry.box
  return x >= x1 - reach && x <= x2 + reach && y >= y1 - reach && y <= y2 + reach
}

const boundsArea = mark => {
  const [x1, y1, x2, y2] = boundsOf(mark)
  return (x2 - x1) * (y2 - y1)
}

// The smallest mark under a place wins: what lies inside something larger can still be reached. -1 where there is none.
function markAt(marks, x, y, reach, only = () => true) {
  let best = -1
  marks.forEach((mark, index) => {
    if (only(mark) && covers(mark, x, y, reach) && (best < 0 || boundsArea(mark) <= boundsArea(marks[best]))) {
      best = index
    }
  })
  return best
}

// Handles of a mark: { x, y, edge } of a box; { x, y, ring, at } of a polygon's corners, and with `between` of the places where one can be added.
function handlesOf(mark) {
  if (mark.kind === "box") {
    const [x1, y1, x2, y2] = mark.geometry.box
    const [xm, ym] = [(x1 + x2) / 2, (y1 + y2) / 2]
    const places = [[x1, y1], [xm, y1], [x2, y1], [x2, ym], [x2, y2], [xm, y2], [x1, y2], [x1, ym]]
    return places.map(([x, y], index) => ({ x, y, edge: EDGES[index] }))
  }
  if (mark.kind !== "polygon") {
    return []
  }
  return mark.geometry.rings.flatMap((ring, place) => {
    const corners = []
    for (let at = 0; at < ring.length; at += 2) {
      const next = (at + 2) % ring.length
      corners.push({ x: ring[at], y: ring[at + 1], ring: place, at })
      corners.push({ x: (ring[at] + ring[next]) / 2, y: (ring[at + 1] + ring[next + 1]) / 2, ring: place, at: at + 2, between: true })
    }
    return corners
  })
}

// Corners come before the places between them: where both are near, the corner is meant.
function handleAt(mark, x, y, reach) {
  let best = null
  for (const handle of handlesOf(mark)) {
    const distance = Math.hypot(handle.x - x, handle.y - y) + (handle.between ? reach / 2 : 0)
    if (distance <= reach && (!best || distance < best.distance)) {
      best = { ...handle, distance }
    }
  }
  return best
}

const mine = (mark, changes) => ({ ...mark, by: "person", score: null, ...changes }) // who changes a suggestion makes it their own

function movedBy(mark, dx, dy, width, height) {
  const [x1, y1, x2, y2] = boundsOf(mark)
  const [right, down] = [rounded(clamp(dx, -x1, width - x2)), rounded(clamp(dy, -y1, height - y2))]
  const shift = flat => flat.map((value, place) => rounded(value + (place % 2 ? down : right)))
  if (mark.kind === "box") {
    return mine(mark, { geometry: { ...mark.geometry, box: shift(mark.geometry.box) } })
  }
  if (mark.kind === "point") {
    return mine(mark, { geometry: { ...mark.geometry, point: shift(mark.geometry.point) } })
  }
  if (mark.kind === "polygon") {
    return mine(mark, { geometry: { ...mark.geometry, rings: mark.geometry.rings.map(shift) } })
  }
  return movedMask(mark, Math.round(right), Math.round(down), width, height)
}

function movedMask(mark, right, down, width, height) {
  const bits = new Uint8Array(width * height)
  eachRun(mark.geometry, (column, from, until) => {
    for (let row = from; row < until; row++) {
      bits[(row + down) * width + column + right] = 1
    }
  })
  const geometry = maskFrom(bits, width, height, 0, width)
  return mine(mark, { geometry: mark.geometry.crowd ? { ...geometry, crowd: true } : geometry })
}

function boxBetween(a, b) {
  return [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])].map(rounded)
}

function resizedTo(mark, edge, x, y) {
  let [x1, y1, x2, y2] = mark.geometry.box
  if (edge.includes("w")) x1 = x
  if (edge.includes("e")) x2 = x
  if (edge.includes("n")) y1 = y
  if (edge.includes("s")) y2 = y
  return mine(mark, { geometry: { ...mark.geometry, box: boxBetween([x1, y1], [x2, y2]) } })
}

function withRing(mark, place, change) {
  const rings = mark.geometry.rings.map((ring, index) => (index === place ? change([...ring]) : ring))
  return mine(mark, { geometry: { ...mark.geometry, rings } })
}

const cornerMoved = (mark, ring, at, x, y) => withRing(mark, ring, flat => (flat.splice(at, 2, rounded(x), rounded(y)), flat))
const cornerAdded = (mark, ring, at, x, y) => withRing(mark, ring, flat => (flat.splice(at, 0, rounded(x), rounded(y)), flat))

// Return the mark without a corner, or null where fewer than three would be left.
function cornerRemoved(mark, ring, at) {
  return mark.geometry.rings[ring].length > 6 ? withRing(mark, ring, flat => (flat.splice(at, 2), flat)) : null
}

const KIND_WORDS = { box: "box", polygon: "polygon", mask: "mask", point: "point" }

function describe(mark) {
  const [x1, y1, x2, y2] = boundsOf(mark).map(Math.round)
  const where = mark.kind === "point" ? `at ${x1}, ${y1}` : `${x2 - x1} × ${y2 - y1} at ${x1}, ${y1}`
  return `${KIND_WORDS[mark.kind]}, ${where}`
}

const sameMarks = (one, other) => canonical(one) === canonical(other)

function canonical(marks) {
  return JSON.stringify(
    marks.map(({ label, kind, geometry, by }) => {
      const { box, rings, size, counts, point, crowd } = geometry
      return [label, kind, by ?? "person", box ?? rings ?? point ?? [size, counts], Boolean(crowd)]
    }),
  )
}
