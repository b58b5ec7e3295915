// Drawing labels on pictures. These files are joined, in the order that __init__.py names, into one module.
//
// A mark is what engine/data/shapes.py calls one: { label, kind, geometry, by, score }. Marks are never changed in place, always replaced, so
// that history, drafts and the outbox can share them. Coordinates are pixels of the original picture; `view` maps them to the stage.

const ROUTE = "/graft/marks/"
const FALLBACK_COLOURS = ["#4fae78", "#d97a06", "#3b82c4", "#c0392b", "#8e5bb5", "#1f9c9c", "#b8860b", "#d6588f"]

const clamp = (value, low, high) => Math.min(high, Math.max(low, value))
const rounded = value => Math.round(value * 100) / 100

function element(name, attributes = {}, ...children) {
  const node = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) {
      node[key] = value
    } else if (value === true) {
      node.setAttribute(key, "")
    } else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(key, value)
    }
  }
  node.append(...children)
  return node
}

// Colours follow the theme's chart colours, so that they suit light and dark alike.
function readColours(root) {
  const listed = getComputedStyle(root).getPropertyValue("--st-chart-categorical-colors")
  const found = listed.match(/#[0-9a-f]{6}|rgba?\([^)]*\)/gi) ?? []
  return found.length > 3 ? found : FALLBACK_COLOURS
}

const colourOf = (board, label) => {
  const place = board.classes.indexOf(label)
  return board.colours[(place < 0 ? board.classes.length : place) % board.colours.length]
}

function remembered(key, fallback) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? fallback
  } catch {
    return fallback
  }
}

function remember(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value))
    return true
  } catch {
    return false // full, or switched off: then it is kept in memory only
  }
}

const countWords = count => (count === 1 ? "1 label" : `${count} labels`)
const percent = share => `${Math.round(share * 100)} %`
