// Where the picture lies on the stage: fitted, zoomed, moved. `view` is { scale, x, y }: stage pixels a picture pixel, and where its corner lies.

const MOST_ZOOM = 40
const SMALL_PX = 2048 // longest side of the picture that is fetched first; the larger one comes when it would show
const LARGE_PX = 4096

function stageSize(board) {
  return [board.stage.clientWidth, board.stage.clientHeight]
}

function fit(board) {
  const [width, height] = stageSize(board)
  const scale = 0.98 * Math.min(width / board.item.width, height / board.item.height)
  board.view = { scale, x: (width - board.item.width * scale) / 2, y: (height - board.item.height * scale) / 2 }
  board.fitted = true
  paint(board)
}

function leastZoom(board) {
  const [width, height] = stageSize(board)
  return 0.5 * Math.min(width / board.item.width, height / board.item.height)
}

// Zoom by a factor round a place on the stage (its middle by default).
function zoom(board, factor, at = stageSize(board).map(side => side / 2)) {
  const { scale, x, y } = board.view
  const next = clamp(scale * factor, leastZoom(board), MOST_ZOOM)
  board.view = { scale: next, x: at[0] - ((at[0] - x) * next) / scale, y: at[1] - ((at[1] - y) * next) / scale }
  board.fitted = false
  paint(board)
}

// Some of the picture always stays on the stage.
function pan(board, dx, dy) {
  const [width, height] = stageSize(board)
  const { scale, x, y } = board.view
  board.view = {
    scale,
    x: clamp(x + dx, 40 - board.item.width * scale, width - 40),
    y: clamp(y + dy, 40 - board.item.height * scale, height - 40),
  }
  board.fitted = false
  paint(board)
}

function stagePlace(board, event) {
  const frame = board.stage.getBoundingClientRect()
  return [event.clientX - frame.left, event.clientY - frame.top]
}

// Return the picture pixel under a pointer, kept inside the picture.
function picturePlace(board, event) {
  const [left, top] = stagePlace(board, event)
  const { scale, x, y } = board.view
  return [clamp((left - x) / scale, 0, board.item.width), clamp((top - y) / scale, 0, board.item.height)]
}

const pictureUrl = (item, size) => `/graft/image/${item.id}/${size}?v=${item.sha256.slice(0, 16)}`

// Show the picture in the size that the zoom asks for; the smaller one stays until the larger one is there.
function showPicture(board) {
  const { item, view, picture } = board
  const largest = Math.max(item.width, item.height)
  const wanted = largest > SMALL_PX && largest * view.scale * devicePixelRatio > 1.2 * SMALL_PX ? LARGE_PX : SMALL_PX
  const source = pictureUrl(item, wanted)
  if (board.source === source || (board.source === pictureUrl(item, LARGE_PX) && wanted === SMALL_PX)) {
    return
  }
  board.source = source
  if (!picture.src.includes(`/image/${item.id}/`)) {
    picture.removeAttribute("src") // never the last picture under this one's labels
  }
  const fetched = new Image()
  fetched.onload = () => {
    if (board.source === source) {
      picture.src = source
    }
  }
  fetched.onerror = () => {
    if (board.source === source) {
      board.source = ""
      tell(board, "This picture cannot be shown: its file is gone or damaged, or the studio does not answer.")
    }
  }
  fetched.src = source
}
