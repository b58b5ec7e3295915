// Masks as COCO's compressed run lengths: column by column, first the run outside. The same code as engine/data/shapes.py, in the browser.

function unpackRuns(text) {
  const runs = []
  let value = 0
  let shift = 0
  for (let place = 0; place < text.length; place++) {
    const bits = text.charCodeAt(place) - 48
    value += (bits & 31) * 2 ** shift // not <<: a run may need more than 32 bits on its way
    shift += 5
    if (!(bits & 32)) {
      if (bits & 16) {
        value -= 2 ** shift
      }
      runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value)
      value = 0
      shift = 0
    }
  }
  return runs
}

function packRuns(runs) {
  const letters = []
  runs.forEach((run, place) => {
    let value = place > 2 ? run - runs[place - 2] : run
    for (;;) {
      const bits = value & 31
      value >>= 5 // runs are below 2^31: a picture has 120 million pixels at most
      const more = value !== (bits & 16 ? -1 : 0)
      letters.push(String.fromCharCode((bits | (more ? 32 : 0)) + 48))
      if (!more) {
        break
      }
    }
  })
  return letters.join("")
}

// Return { ends, columns: [first, last + 1], rows: [first, last + 1] } of a mask; runs of odd number are inside. Kept by geometry.
const knownRuns = new WeakMap()

function runsOf(geometry) {
  const known = knownRuns.get(geometry)
  if (known) {
    return known
  }
  const [height, width] = geometry.size
  const runs = unpackRuns(geometry.counts)
  const ends = new Float64Array(runs.length)
  let [at, left, right, top, bottom] = [0, width, 0, height, 0]
  runs.forEach((run, place) => {
    if (place % 2 && run) {
      const [first, last] = [Math.floor(at / height), Math.floor((at + run - 1) / height)]
      left = Math.min(left, first)
      right = Math.max(right, last + 1)
      top = first === last ? Math.min(top, at % height) : 0
      bottom = first === last ? Math.max(bottom, (at % height) + run) : height
    }
    at += run
    ends[place] = at
  })
  const found = { ends, columns: [left, Math.max(left, right)], rows: [top, Math.max(top, bottom)] }
  knownRuns.set(geometry, found)
  return found
}

// Visit every run inside as (column, first row, last row + 1), cut at the columns' ends.
function eachRun(geometry, visit) {
  const [height] = geometry.size
  const { ends } = runsOf(geometry)
  for (let place = 1; place < ends.length; place += 2) {
    let from = ends[place - 1]
    while (from < ends[place]) {
      const column = Math.floor(from / height)
      const until = Math.min(ends[place], (column + 1) * height)
      visit(column, from - column * height, until - column * height)
      from = until
    }
  }
}

function maskCovers(geometry, x, y) {
  const [height, width] = geometry.size
  if (x < 0 || y < 0 || x >= width || y >= height) {
    return false
  }
  const { ends } = runsOf(geometry)
  const wanted = Math.floor(x) * height + Math.floor(y)
  let [low, high] = [0, ends.length - 1]
  while (low < high) {
    const middle = (low + high) >> 1
    if (ends[middle] > wanted) {
      high = middle
    } else {
      low = middle + 1
    }
  }
  return low % 2 === 1
}

// Pixels row by row, one byte each, while a brush is at work.
function bitsOf(geometry, width, height) {
  const bits = new Uint8Array(width * height)
  if (geometry) {
    eachRun(geometry, (column, from, until) => {
      for (let row = from; row < until; row++) {
        bits[row * width + column] = 1
      }
    })
  }
  return bits
}

// Return the kept form of pixels, or null where none is inside. Only columns [first, last) are looked at.
function maskFrom(bits, width, height, first, last) {
  const runs = []
  let inside = 0
  let run = first * height
  for (let column = first; column < last; column++) {
    for (let row = 0, place = column; row < height; row++, place += width) {
      if (bits[place] === inside) {
        run++
      } else {
        runs.push(run)
        inside = bits[place]
        run = 1
      }
    }
  }
  const rest = (width - last) * height
  if (inside && rest) {
    runs.push(run, rest)
  } else {
    runs.push(run + rest)
  }
  return runs.length > 1 ? { size: [height, width], counts: packRuns(runs) } : null
}
