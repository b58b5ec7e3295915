// Edits on their way to the disk. Each picture has at most one entry: the marks as they should be, and what they were drawn on.
//
// An entry leaves only when the server has said that it is on the disk. Until then it lies in memory and in localStorage, and is sent again
// while the server is down, after a reload too. Where somebody else was faster it waits, with both versions, for a person's choice.

const RETRY_MS = [300, 700, 1500, 3000, 5000]

const unsavedKey = (project, id) => `graft-unsaved:${project}:${id}`

function makeOutbox(project, changed) {
  const outbox = { project, changed, entries: new Map(), acknowledged: new Map(), failures: 0, timer: 0 }
  for (const key of Object.keys(localStorageOrNone())) {
    if (key.startsWith(unsavedKey(project, ""))) {
      const entry = remembered(key, null)
      if (entry && Array.isArray(entry.marks)) {
        outbox.entries.set(entry.id, { ...entry, version: 0, sending: false })
      }
    }
  }
  outbox.entries.forEach(entry => send(outbox, entry))
  return outbox
}

function localStorageOrNone() {
  try {
    return localStorage
  } catch {
    return {}
  }
}

// Take an edit of a picture: `base` and `revision` say on what it was drawn, unless an earlier edit is still on its way.
function put(outbox, item, base, marks, reviewed = null) {
  const entry = outbox.entries.get(item.id) ?? { id: item.id, revision: item.revision, base, version: 0, sending: false, reviewed: null }
  Object.assign(entry, { marks, reviewed: reviewed ?? entry.reviewed, version: entry.version + 1, fault: null })
  outbox.entries.set(item.id, entry)
  keep(outbox, entry)
  send(outbox, entry)
}

function keep(outbox, { id, revision, base, marks, reviewed }) {
  remember(unsavedKey(outbox.project, id), { id, revision, base, marks, reviewed })
}

function drop(outbox, entry) {
  outbox.entries.delete(entry.id)
  try {
    localStorage.removeItem(unsavedKey(outbox.project, entry.id))
  } catch {
    // there is none to forget
  }
}

async function send(outbox, entry) {
  if (entry.sending || entry.conflict) {
    return
  }
  Object.assign(entry, { sending: true })
  outbox.changed(entry)
  const { version, marks, revision, reviewed } = entry
  let answer = null
  let said = null
  try {
    answer = await fetch(ROUTE + entry.id, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ revision, marks, reviewed }),
    })
    said = await answer.json()
  } catch {
    said = null // no answer, or none of ours: it may have arrived or not, and sending it again is safe either way
  }
  entry.sending = false
  heard(outbox, entry, said === null ? 0 : answer.status, said, { version, marks, reviewed })
}

function heard(outbox, entry, status, said, sent) {
  if (status === 200) {
    outbox.failures = 0
    const before = entry.base
    Object.assign(entry, { revision: said.revision, base: sent.marks })
    outbox.acknowledged.set(entry.id, { revision: said.revision, marks: sent.marks, reviewed: sent.reviewed })
    outbox.changed(entry, { revision: said.revision, marks: sent.marks, before })
    if (entry.version === sent.version) {
      drop(outbox, entry)
      outbox.changed(entry)
    } else {
      keep(outbox, entry)
      send(outbox, entry)
    }
  } else if (status === 409) {
    meet(outbox, entry, said)
  } else if (status === 400 || status === 404 || status === 413) {
    entry.fault = said
    outbox.changed(entry)
  } else {
    outbox.failures++
    clearTimeout(outbox.timer)
    outbox.timer = setTimeout(() => outbox.entries.forEach(one => send(outbox, one)), RETRY_MS[Math.min(outbox.failures, RETRY_MS.length) - 1])
    outbox.changed(entry)
  }
}

// Somebody was faster. If they left the marks as they were, nothing of theirs is lost by going on; else a person chooses.
function meet(outbox, entry, said) {
  if (sameMarks(said.marks, entry.base)) {
    entry.revision = said.item.revision
    keep(outbox, entry)
    send(outbox, entry)
  } else {
    entry.conflict = said
    outbox.changed(entry)
  }
}

// `marks` is what the person chose to keep; null takes the other side's as they are.
function settle(outbox, entry, marks) {
  const theirs = entry.conflict
  const before = entry.base
  Object.assign(entry, { conflict: null, revision: theirs.item.revision, base: theirs.marks })
  if (marks === null) {
    drop(outbox, entry)
    outbox.changed(entry, { revision: theirs.item.revision, marks: theirs.marks, before })
  } else {
    Object.assign(entry, { marks, version: entry.version + 1 })
    keep(outbox, entry)
    send(outbox, entry)
  }
}

function outboxWords(outbox) {
  const entries = [...outbox.entries.values()]
  if (!entries.length) {
    return ["saved", "Saved"]
  }
  const fault = entries.find(entry => entry.fault)?.fault
  if (fault) {
    return ["fault", `Not saved: ${fault.problem}. ${fault.remedy}`]
  }
  if (entries.some(entry => entry.conflict)) {
    return ["conflict", "Not saved: somebody else changed this picture. Choose what stays."]
  }
  return outbox.failures ? ["waiting", "Not saved yet: the studio does not answer. Your work is kept here and sent again."] : ["saving", "Saving…"]
}
