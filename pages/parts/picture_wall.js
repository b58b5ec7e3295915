// A grid of picture buttons. A click, Enter or Space tells Python which picture was picked.

function tileNode() {
  const button = document.createElement("button")
  button.type = "button"
  button.className = "tile"
  const picture = document.createElement("img")
  picture.loading = "lazy"
  picture.decoding = "async"
  const title = document.createElement("span")
  title.className = "title"
  const words = document.createElement("span")
  words.className = "words"
  button.append(picture, title, words)
  return button
}

export default function ({ data, parentElement, setTriggerValue }) {
  const wall = parentElement.querySelector(".wall")
  wall.classList.toggle("wide", Boolean(data.wide))
  wall.classList.toggle("whole", Boolean(data.whole))
  while (wall.children.length > data.tiles.length) {
    wall.lastElementChild.remove()
  }
  data.tiles.forEach((tile, index) => {
    const button = wall.children[index] ?? wall.appendChild(tileNode())
    const [picture, title, words] = button.children
    if (picture.getAttribute("src") !== tile.source) {
      picture.src = tile.source
    }
    picture.alt = `${tile.title} ${tile.words}`.trim()
    title.textContent = tile.title
    words.textContent = tile.words
    button.dataset.tone = tile.tone
    button.setAttribute("aria-pressed", String(tile.id === data.chosen))
    button.onclick = () => setTriggerValue("picked", tile.id)
  })
}
