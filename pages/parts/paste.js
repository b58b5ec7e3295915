// Takes a picture from the clipboard or a drop and sends it to Python as a data URL.

const INVITATION = "Click here and press Ctrl+V (or ⌘V) to paste a picture"

export default function ({ data, parentElement, setStateValue }) {
  const field = parentElement.querySelector(".paste")
  const words = field.querySelector(".words")
  words.textContent ||= INVITATION

  const take = (file) => {
    if (!file) {
      words.textContent = "There is no picture in the clipboard. Copy a picture first, then paste it here."
      return
    }
    if (file.size > data.mostBytes) {
      words.textContent = "That picture is larger than 12 MB. Save it and drop the file instead."
      return
    }
    const reader = new FileReader()
    reader.onload = () => {
      words.textContent = "Picture taken. Paste another one at any time."
      setStateValue("picture", reader.result)
    }
    reader.readAsDataURL(file)
  }
  const firstPicture = (transfer) => [...transfer.files].find((file) => file.type.startsWith("image/"))

  field.onpaste = (event) => {
    event.preventDefault()
    take(firstPicture(event.clipboardData))
  }
  field.ondragover = (event) => event.preventDefault()
  field.ondrop = (event) => {
    event.preventDefault()
    take(firstPicture(event.dataTransfer))
  }
  field.onkeydown = (event) => event.stopPropagation() // Streamlit's own one-letter shortcuts stay quiet
}
