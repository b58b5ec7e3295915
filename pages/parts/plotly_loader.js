// Fetches Plotly from this server, once a page. Put before the script of every component that draws with it.

let loading = null

function loadPlotly(source) {
  if (window.Plotly) {
    return Promise.resolve(window.Plotly)
  }
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script")
    script.src = source
    script.onload = () => resolve(window.Plotly)
    script.onerror = () => {
      loading = null
      reject(new Error(`the charts' library could not be loaded from ${source}`))
    }
    document.head.append(script)
  })
  return loading
}
