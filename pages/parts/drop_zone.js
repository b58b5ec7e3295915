// A place to drop files or folders. They are streamed to this server's disk one after another;
// Python hears only the id of what arrived.

const zones = new WeakMap()
const AT_ONCE = 3

const said = bytes =>
  bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)} GB` : bytes >= 2 ** 20 ? `${(bytes / 2 ** 20).toFixed(0)} MB` : `${Math.ceil(bytes / 1024)} kB`

// ---- what was dropped: files, and the files inside folders, with their paths

const entriesIn = reader => new Promise((resolve, reject) => reader.readEntries(resolve, reject))
const fileOf = entry => new Promise((resolve, reject) => entry.file(resolve, reject))

async function walk(entry, found) {
  if (entry.isFile) {
    found.push({ file: await fileOf(entry), name: entry.fullPath.replace(/^\//, "") })
    return
  }
  const reader = entry.createReader()
  for (let batch = await entriesIn(reader); batch.length; batch = await entriesIn(reader)) {
    for (const inner of batch) {
      await walk(inner, found)
    }
  }
}

async function dropped(transfer) {
  const entries = [...transfer.items].map(item => item.webkitGetAsEntry?.()).filter(Boolean)
  if (!entries.length) {
    return [...transfer.files].map(file => ({ file, name: file.name }))
  }
  const found = []
  for (const entry of entries) {
    await walk(entry, found)
  }
  return found
}

// ---- sending

function send(zone, { file, name }, upload, onBytes) {
  return new Promise((resolve, reject) => {
    const query = new URLSearchParams({ name, purpose: zone.data.purpose, ...(upload ? { upload } : {}) })
    const request = new XMLHttpRequest()
    zone.requests.add(request)
    request.open("POST", `/graft/upload?${query}`)
    request.upload.onprogress = event => onBytes(event.loaded)
    request.onloadend = () => zone.requests.delete(request)
    request.onerror = () => reject(new Error("The connection to the studio was lost. Drop it again."))
    request.onabort = () => reject(new Error("Cancelled."))
    request.onload = () => {
      let answer = {}
      try {
        answer = JSON.parse(request.responseText)
      } catch {
        answer = { problem: `the studio answered ${request.status}`, remedy: "Load the page again." }
      }
      if (request.status === 200) {
        onBytes(file.size)
        resolve(answer)
      } else {
        const problem = answer.problem ?? "it was not taken"
        reject(new Error(`${problem[0].toUpperCase()}${problem.slice(1)}. ${answer.remedy ?? ""}`))
      }
    }
    request.send(file)
  })
}

async function take(zone, files) {
  const { data } = zone
  const many = files.length > 1
  if (zone.busy || !files.length) {
    return
  }
  if (many && !data.many) {
    return show(zone, { fault: "One file at a time, please." })
  }
  if (!many && data.accept.length && !data.accept.some(end => files[0].name.toLowerCase().endsWith(end))) {
    return show(zone, { fault: `This takes ${data.accept.join(", ")}.` })
  }
  if (data.needs && !files.some(one => one.name.toLowerCase().endsWith(data.needs))) {
    return show(zone, { fault: `There is no ${data.needs} file among these.` })
  }
  zone.busy = true
  const total = files.reduce((sum, one) => sum + one.file.size, 0)
  const sent = new Array(files.length).fill(0)
  const name = many ? `${files.length.toLocaleString("en")} files` : files[0].name
  const progress = () => {
    const done = Math.min(total, sent.reduce((sum, bytes) => sum + bytes, 0))
    show(zone, { share: total ? done / total : 1, title: name, words: `${said(done)} of ${said(total)}` })
  }
  progress()
  try {
    let next = 1
    const one = index => send(zone, files[index], zone.upload, bytes => { sent[index] = bytes; progress() })
    zone.upload = ""
    const first = await one(0)
    zone.upload = first.upload
    const worker = async () => {
      while (next < files.length) {
        await one(next++)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    zone.setTriggerValue("uploaded", { upload: first.upload, name: many ? name : first.name, bytes: total, files: files.length })
    show(zone, { done: name })
  } catch (error) {
    zone.requests.forEach(request => request.abort())
    show(zone, { fault: error.message })
  } finally {
    zone.busy = false
  }
}

// ---- showing

function show(zone, { share, title, words, fault, done } = {}) {
  const at = name => zone.root.querySelector(name)
  at(".title").textContent = title ?? zone.data.title
  at(".words").textContent = fault ?? words ?? (done ? `${done} has arrived.` : zone.data.words)
  at(".words").classList.toggle("fault", Boolean(fault))
  at(".track").hidden = share === undefined
  at(".cancel").hidden = share === undefined
  at(".choices").hidden = share !== undefined
  at(".bar").style.width = `${Math.round(100 * (share ?? 0))}%`
  at(".track").setAttribute("aria-valuenow", String(Math.round(100 * (share ?? 0))))
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".zone")
  const known = zones.get(root)
  const zone = known ?? { root, requests: new Set(), busy: false, upload: "" }
  Object.assign(zone, { data, setTriggerValue })
  zones.set(root, zone)
  const [files, folder] = [parentElement.querySelector(".files"), parentElement.querySelector(".folder")]
  files.accept = data.accept.join(",")
  files.multiple = data.many
  const picked = input => {
    const list = [...input.files].map(file => ({ file, name: file.webkitRelativePath || file.name }))
    input.value = ""
    take(zone, list)
  }
  files.onchange = () => picked(files)
  folder.onchange = () => picked(folder)
  root.setAttribute("aria-label", data.title)
  root.querySelector(".pick-files").textContent = data.button
  root.querySelector(".pick-files").onclick = event => { event.stopPropagation(); files.click() }
  root.querySelector(".pick-folder").hidden = !data.many
  root.querySelector(".pick-folder").onclick = event => { event.stopPropagation(); folder.click() }
  root.querySelector(".cancel").onclick = event => { event.stopPropagation(); zone.requests.forEach(request => request.abort()) }
  root.onclick = () => zone.busy || files.click()
  root.onkeydown = event => {
    if (event.target === root && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault()
      files.click()
    }
    event.stopPropagation()
  }
  root.ondragover = event => { event.preventDefault(); root.classList.add("over") }
  root.ondragleave = () => root.classList.remove("over")
  root.ondrop = async event => {
    event.preventDefault()
    root.classList.remove("over")
    take(zone, await dropped(event.dataTransfer))
  }
  if (!known) {
    show(zone)
  }
  return () => {
    zone.requests.forEach(request => request.abort())
    zones.delete(root)
  }
}
