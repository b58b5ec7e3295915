// The board itself: opening pictures one after the other, and what Streamlit calls when its data change.

const boards = new WeakMap()
const outboxes = new Map() // by project: unsaved edits outlive a board that is taken off the page
const AHEAD = 2

function makeBoard(root) {
  const board = {
    root,
    q: selector => root.querySelector(selector),
    stage: root.querySelector(".stage"),
    picture: root.querySelector(".picture"),
    canvas: root.querySelector(".over"),
    help: root.querySelector(".help"),
    pointers: new Map(),
    histories: new Map(),
    looks: { brightness: 1, opacity: 0.25, brush: 12, ...remembered("graft-looks", {}) },
    marks: [],
    queue: [],
    classes: [],
    tools: [],
    classIndex: 0,
    selected: -1,
    source: "",
  }
  board.label = () => board.classes[board.classIndex]
  board.shown = () => board.draft ?? board.comparing ?? board.marks
  const { stage } = board
  stage.onpointerdown = event => (event.target.closest(".choice, .help") ? undefined : onDown(board, event))
  stage.onpointermove = event => onMove(board, event)
  stage.onpointerup = event => onUp(board, event)
  stage.onpointercancel = event => onCancel(board, event)
  stage.onpointerleave = () => {
    board.hover = null
    paint(board)
  }
  stage.ondblclick = event => onDoubleClick(board, event)
  stage.oncontextmenu = event => event.preventDefault()
  stage.addEventListener("wheel", event => onWheel(board, event), { passive: false })
  root.onkeydown = event => onKey(board, event)
  root.onclick = event => {
    if (event.detail && !event.target.closest(".help")) {
      root.focus({ preventScroll: true }) // a mouse's click on a button leaves the keys to the board; a key's click leaves them to the button
    }
  }
  root.onkeyup = event => onKeyUp(board, event)
  board.sizes = new ResizeObserver(() => board.item && (board.fitted ? fit(board) : paint(board)))
  board.sizes.observe(stage)
  return board
}

function outboxOf(project) {
  if (!outboxes.has(project)) {
    const listeners = new Set()
    const outbox = makeOutbox(project, (entry, saved) => listeners.forEach(listener => listener(entry, saved)))
    outboxes.set(project, Object.assign(outbox, { listeners }))
    addEventListener("beforeunload", event => outbox.failures && outbox.entries.size && event.preventDefault())
    addEventListener("online", () => outbox.entries.forEach(entry => send(outbox, entry)))
  }
  return outboxes.get(project)
}

// What the page's counts depend on: whether anything of a person's is there, and how many suggestions are open.
function standing(marks) {
  const open = suggestionsIn(marks).length
  return `${marks.length > open} ${open}`
}

// An edit of the picture on the board was saved, or could not be.
function onOutbox(board, entry, saved) {
  if (saved && standing(saved.marks) !== standing(saved.before)) {
    board.setTriggerValue("done", `${entry.id}:${saved.revision}`) // the page counts anew: also for a picture that one has left meanwhile
  }
  if (entry.id === board.item?.id) {
    if (saved) {
      board.item = { ...board.item, revision: saved.revision }
      board.base = saved.marks
    }
    if (entry.conflict) {
      dropGesture(board)
      board.open = null
    }
  }
  if (board.item) {
    showSaving(board)
    showChoice(board)
    paint(board)
  }
}

async function open(board, id) {
  board.opening = id
  let said = null
  while (board.opening === id && !said) {
    const answer = await fetch(ROUTE + id).catch(() => null)
    if (answer?.status === 404) {
      return passOver(board, id)
    }
    said = answer?.ok ? await answer.json().catch(() => null) : null
    if (!said) {
      tell(board, "The studio does not answer. Trying again…")
      await new Promise(later => setTimeout(later, 700))
    }
  }
  return board.opening === id ? show(board, said) : undefined
}

function passOver(board, id) {
  const place = Math.max(0, board.queue.indexOf(id))
  board.queue = board.queue.filter(one => one !== id)
  tell(board, "That picture is gone: it may have been removed.")
  return board.queue.length ? open(board, board.queue[Math.min(place, board.queue.length - 1)]) : undefined
}

function show(board, said) {
  const acknowledged = board.outbox.acknowledged.get(said.item.id) // an answer of ours may have overtaken this one
  if (acknowledged && acknowledged.revision > said.item.revision) {
    said = { item: { ...said.item, revision: acknowledged.revision, reviewed: acknowledged.reviewed ?? said.item.reviewed }, marks: acknowledged.marks }
  }
  const { item } = said
  const entry = board.outbox.entries.get(item.id) // not saved yet: what was drawn, not what is on the disk
  board.previous = board.item && board.item.id !== item.id ? board.item.id : board.previous
  const marks = entry ? entry.marks : said.marks
  dropGesture(board)
  if (board.item) {
    board.histories.set(board.item.id, { history: board.history, marks: board.marks })
  }
  const known = board.histories.get(item.id)
  Object.assign(board, { item, marks, base: said.marks, selected: -1, corner: null, open: null, comparing: null, opening: null })
  board.history = known && sameMarks(known.marks, marks) ? known.history : { past: [], future: [] }
  board.pointers.clear()
  try {
    sessionStorage.setItem(`graft-at:${board.project}`, item.id)
  } catch {
    // then a reload starts at the first picture
  }
  tell(board, marks.length || item.reviewed ? "" : "Choose a class, then draw. Every stroke is saved at once.")
  fit(board)
  refresh(board)
  const place = board.queue.indexOf(item.id)
  board.queue.slice(place + 1, place + 1 + AHEAD).forEach(fetchAhead)
}

async function fetchAhead(id) {
  const said = await fetch(ROUTE + id).then(answer => (answer.ok ? answer.json() : null), () => null)
  if (said) {
    new Image().src = pictureUrl(said.item, SMALL_PX)
  }
}

function go(board, by) {
  const place = board.queue.indexOf(board.opening ?? board.item.id) + by // keys may be faster than the next picture
  if (place < 0) {
    return tell(board, "This is the first one.")
  }
  if (place >= board.queue.length) {
    board.setTriggerValue("more", Date.now())
    return tell(board, "That was the last one of these.")
  }
  return open(board, board.queue[place])
}

// All is labelled here. Suggestions are not agreed to by passing over them.
function done(board) {
  if (locked(board)) {
    return tell(board, "First choose which version stays.")
  }
  const left = suggestions(board).length
  if (left) {
    return tell(board, `${left === 1 ? "A suggestion is" : `${left} suggestions are`} open: Y agrees, N turns down.`)
  }
  if (!board.item.reviewed) {
    board.item = { ...board.item, reviewed: true }
    put(board.outbox, board.item, board.base, board.marks, true)
    board.setTriggerValue("done", `${board.item.id}:done`)
  }
  return go(board, 1)
}

function take(board, data) {
  const { project, classes, tools, queue } = data
  if (board.project !== project) {
    board.outbox?.listeners.delete(board.listener)
    Object.assign(board, { project, outbox: outboxOf(project), item: null, queueKey: null, listener: (entry, saved) => onOutbox(board, entry, saved) })
    board.outbox.listeners.add(board.listener)
  }
  if (board.tools.join() !== tools.join()) {
    Object.assign(board, { tools, tool: tools.find(one => one !== "select") })
    buildPanels(board)
  }
  if (JSON.stringify(board.classes) !== JSON.stringify(classes)) {
    board.classes = classes
    board.classIndex = Math.min(board.classIndex, classes.length - 1)
    buildClasses(board)
  }
  if (board.queueKey !== data.queueKey) {
    const last = board.item ? 0 : Number(sessionStorageOrNone()[`graft-at:${project}`] ?? 0) // a reload goes on at the same picture, done or not
    Object.assign(board, { queue: last && !queue.includes(last) ? [last, ...queue] : queue, queueKey: data.queueKey })
    const here = board.queue.includes(board.item?.id) ? board.item.id : last || board.queue[0]
    if (here !== board.item?.id) {
      open(board, here)
    }
  }
  if (board.item && !board.opening && board.stamp !== undefined && board.stamp !== data.stamp && !board.gesture && !board.open) {
    open(board, board.item.id) // suggestions came or went
  }
  board.stamp = data.stamp
  refresh(board)
}

function sessionStorageOrNone() {
  try {
    return sessionStorage
  } catch {
    return {}
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".board")
  const fresh = !boards.has(root)
  const board = boards.get(root) ?? makeBoard(root)
  boards.set(root, board)
  board.setTriggerValue = setTriggerValue
  board.colours = readColours(root)
  board.font = getComputedStyle(root).fontFamily || "sans-serif"
  take(board, data)
  if (board.classes.length) {
    buildClasses(board) // the theme may have changed
    refresh(board)
  }
  if (fresh && (document.activeElement === document.body || document.activeElement === null)) {
    root.focus({ preventScroll: true }) // keys work at once, unless one is typing elsewhere
  }
  return () => {
    board.sizes.disconnect()
    board.outbox.listeners.delete(board.listener)
    boards.delete(root)
  }
}
